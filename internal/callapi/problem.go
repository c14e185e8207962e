package callapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
	"github.com/offhook/offhook/twiliocall"
)

// problemError is an answer that refuses: an RFC 9457 problem with Twilio's code as an extra member.
type problemError struct{ twiliocall.Problem }

// GetStatus is huma.StatusError's.
func (p *problemError) GetStatus() int { return p.Status }

// ContentType is huma.ContentTypeFilter's.
func (p *problemError) ContentType(string) string { return "application/problem+json" }

// GetHeaders is huma.HeadersError's.
func (p *problemError) GetHeaders() http.Header {
	h := http.Header{}
	switch p.Status {
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", "1") // seconds
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Basic realm="Twilio API"`)
	}
	return h
}

func newProblem(status, code int, detail string) *problemError {
	return &problemError{twiliocall.Problem{Title: http.StatusText(status), Status: status, Code: code, Detail: detail}}
}

// useProblems makes huma's own refusals, such as of a body that does not fit its schema, problems of ours. What
// makes them belongs to the process, so it is done once.
var useProblems = sync.OnceFunc(func() {
	huma.ValidateStrictCasing = true // else To passes for to
	huma.NewError = func(status int, detail string, errs ...error) huma.StatusError {
		code := 20001
		switch status {
		case http.StatusUnprocessableEntity:
			status = http.StatusBadRequest // as the Calls API has it
		case http.StatusInternalServerError:
			code = 20500
		}
		var said []string
		for _, err := range errs {
			var d *huma.ErrorDetail
			if !errors.As(err, &d) {
				said = append(said, err.Error())
				continue
			}
			where := strings.TrimPrefix(strings.TrimPrefix(d.Location, "body."), "query.")
			if where != "" && where != "body" {
				where += ": "
			} else {
				where = ""
			}
			said = append(said, where+d.Message)
		}
		if len(said) > 0 {
			detail = strings.Join(said, "; ")
		}
		return newProblem(status, code, detail)
	}
})

// problemOf is the problem that stands for err: what the customer may see of it, the rest goes into the log.
func (a *api) problemOf(err error) error {
	var e *twilio.Error
	var missing *call.MissingError
	switch {
	case errors.As(err, &e):
		status := e.Status
		switch {
		case e.Code == 21220:
			status = http.StatusConflict // the call is in no state for it
		case status == 0:
			status = http.StatusBadRequest
		}
		return newProblem(status, e.Code, e.Message)
	case errors.As(err, &missing):
		return newProblem(http.StatusNotFound, 20404, missing.Error())
	case errors.Is(err, call.ErrNotFound):
		return newProblem(http.StatusNotFound, 20404, "the requested resource was not found")
	case errors.Is(err, call.ErrLive):
		return newProblem(http.StatusConflict, 20009, "the call has not ended")
	case errors.Is(err, call.ErrConflict):
		return newProblem(http.StatusConflict, 20409, err.Error())
	case errors.Is(err, call.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return newProblem(http.StatusServiceUnavailable, 20503, "the store cannot be reached, try again")
	}
	a.Log.Error("request failed", "err", err)
	return newProblem(http.StatusInternalServerError, 20500, "internal error")
}

// problem writes a problem.
func problem(w http.ResponseWriter, status, code int, detail string) {
	newProblem(status, code, detail).write(w)
}

func (p *problemError) write(w http.ResponseWriter) {
	for name, values := range p.GetHeaders() {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client is gone when this fails
}

// fail answers what the store said.
func (a *api) fail(w http.ResponseWriter, r *http.Request, err error) {
	var p *problemError
	if !errors.As(a.problemOf(err), &p) {
		return
	}
	if p.Status == http.StatusNotFound {
		p.Detail = "The requested resource " + r.URL.Path + " was not found"
	}
	p.write(w)
}
