package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	api "github.com/twilio/twilio-go/rest/api/v2010"
)

const (
	account = "/2010-04-01/Accounts/{AccountSid}"
	openAPI = "../../../shared/spec/twilio_api_v2010.voice.json"
)

// models are the SDK's own, by method and path without the suffix.
var models = map[string]any{
	"GET /2010-04-01/Accounts":                              api.ListAccountResponse{},
	"POST /2010-04-01/Accounts":                             api.ApiV2010Account{},
	"GET /2010-04-01/Accounts/{Sid}":                        api.ApiV2010Account{},
	"POST /2010-04-01/Accounts/{Sid}":                       api.ApiV2010Account{},
	"GET " + account + "/Keys":                              api.ListKeyResponse{},
	"POST " + account + "/Keys":                             api.ApiV2010NewKey{},
	"GET " + account + "/Keys/{Sid}":                        api.ApiV2010Key{},
	"POST " + account + "/Keys/{Sid}":                       api.ApiV2010Key{},
	"GET " + account + "/Applications":                      api.ListApplicationResponse{},
	"POST " + account + "/Applications":                     api.ApiV2010Application{},
	"GET " + account + "/Applications/{Sid}":                api.ApiV2010Application{},
	"POST " + account + "/Applications/{Sid}":               api.ApiV2010Application{},
	"GET " + account + "/IncomingPhoneNumbers":              api.ListIncomingPhoneNumberResponse{},
	"POST " + account + "/IncomingPhoneNumbers":             api.ApiV2010IncomingPhoneNumber{},
	"GET " + account + "/IncomingPhoneNumbers/{Sid}":        api.ApiV2010IncomingPhoneNumber{},
	"POST " + account + "/IncomingPhoneNumbers/{Sid}":       api.ApiV2010IncomingPhoneNumber{},
	"GET " + account + "/Calls":                             api.ListCallResponse{},
	"POST " + account + "/Calls":                            api.ApiV2010Call{},
	"GET " + account + "/Calls/{Sid}":                       api.ApiV2010Call{},
	"POST " + account + "/Calls/{Sid}":                      api.ApiV2010Call{},
	"GET " + account + "/Calls/{CallSid}/Events":            api.ListCallEventResponse{},
	"GET " + account + "/Calls/{CallSid}/Notifications":     api.ListCallNotificationResponse{},
	"GET " + account + "/Calls/{CallSid}/Recordings":        api.ListCallRecordingResponse{},
	"POST " + account + "/Calls/{CallSid}/Recordings":       api.ApiV2010CallRecording{},
	"GET " + account + "/Calls/{CallSid}/Recordings/{Sid}":  api.ApiV2010CallRecording{},
	"POST " + account + "/Calls/{CallSid}/Recordings/{Sid}": api.ApiV2010CallRecording{},
	"GET " + account + "/Recordings":                        api.ListRecordingResponse{},
	"GET " + account + "/Recordings/{Sid}":                  api.ApiV2010Recording{},
}

// routes finds the key of models that a request is of.
var routes = sync.OnceValue(func() *http.ServeMux {
	mux := http.NewServeMux()
	for pattern := range models {
		mux.Handle(pattern, http.NotFoundHandler())
	}
	return mux
})

// description is Twilio's own, nil where it does not stand beside the project.
var description = sync.OnceValues(func() (*openapi3.T, error) {
	openapi3.DefineStringFormatCallback("date-time-rfc-2822", func(s string) error {
		_, err := time.Parse(time.RFC1123Z, s)
		return err
	})
	openapi3.DefineStringFormat("currency", `^[A-Z]{3}$`)
	openapi3.DefineStringFormat("http-method", `^(GET|POST)$`)
	openapi3.DefineStringFormat("phone-number", `^\+[1-9][0-9]{1,14}$`)
	openapi3.SchemaErrorDetailsDisabled = true
	doc, err := openapi3.NewLoader().LoadFromFile(filepath.FromSlash(openAPI))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return doc, err
})

// checkAnswer holds a JSON answer to the SDK's model of it, no field more and none less, and to Twilio's description.
func checkAnswer(r *http.Request, status int, body []byte) error {
	bare := r.Clone(r.Context())
	bare.URL.Path = strings.TrimSuffix(r.URL.Path, ".json")
	_, route := routes().Handler(bare)
	model, ok := models[route]
	if !ok {
		return errors.New("no model is known of it")
	}
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		return err
	}
	takeDeviations(v)
	known, err := json.Marshal(v)
	if err != nil {
		return err
	}
	strict := json.NewDecoder(bytes.NewReader(known))
	strict.DisallowUnknownFields()
	if err := strict.Decode(reflect.New(reflect.TypeOf(model)).Interface()); err != nil {
		return err
	}
	if err := sameFields("", v, reflect.TypeOf(model)); err != nil {
		return err
	}
	doc, err := description()
	if doc == nil || err != nil {
		return err
	}
	method, path, _ := strings.Cut(route, " ")
	item := doc.Paths.Find(path + ".json")
	if item == nil || item.GetOperation(method) == nil {
		return fmt.Errorf("%s is not described", route)
	}
	response := item.GetOperation(method).Responses.Status(status)
	if response == nil {
		return fmt.Errorf("%s: a status %d is not described", route, status)
	}
	return response.Value.Content.Get("application/json").Schema.Value.VisitJSON(v, openapi3.MultiErrors())
}

// takeDeviations takes out what our specification adds to Twilio's description, the annotation of calls, and what the
// description's own examples have against it: an empty text for a number's missing application.
func takeDeviations(v any) {
	answer, _ := v.(map[string]any)
	for _, key := range [...]string{"calls", "incoming_phone_numbers"} {
		list, _ := answer[key].([]any)
		for _, item := range list {
			takeDeviations(item)
		}
	}
	delete(answer, "annotation")
	for _, key := range [...]string{"voice_application_sid", "sms_application_sid"} {
		if answer[key] == "" {
			answer[key] = nil
		}
	}
}

// sameFields reports where the objects in v have other fields than the model.
func sameFields(at string, v any, model reflect.Type) error {
	switch model.Kind() {
	case reflect.Pointer:
		if v == nil {
			return nil
		}
		return sameFields(at, v, model.Elem())
	case reflect.Slice:
		list, ok := v.([]any)
		if !ok {
			return fmt.Errorf("%s is %v, no list", at, v)
		}
		for i, item := range list {
			if err := sameFields(fmt.Sprintf("%s[%d]", at, i), item, model.Elem()); err != nil {
				return err
			}
		}
	case reflect.Struct:
		object, ok := v.(map[string]any)
		if !ok {
			return fmt.Errorf("%s is %v, no object", at, v)
		}
		fields := map[string]bool{}
		for f := range model.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			fields[name] = true
			value, ok := object[name]
			if !ok {
				return fmt.Errorf("%s lacks %s", at, name)
			}
			if err := sameFields(at+"."+name, value, f.Type); err != nil {
				return err
			}
		}
		for name := range object {
			if !fields[name] {
				return fmt.Errorf("%s has %s, which %s has not", at, name, model)
			}
		}
	}
	return nil
}

// toOffhook sends the SDK's requests to base, as the README shows, and looks at every answer before the SDK does.
type toOffhook struct {
	t    *testing.T
	base string // host and port
}

func (o toOffhook) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host, r.Host = "http", o.base, ""
	w, err := http.DefaultTransport.RoundTrip(r)
	if err != nil || w.StatusCode >= http.StatusMultipleChoices || w.StatusCode == http.StatusNoContent {
		return w, err
	}
	body, err := io.ReadAll(w.Body)
	w.Body.Close()
	if err != nil {
		return nil, err
	}
	w.Body = io.NopCloser(bytes.NewReader(body))
	if err := checkAnswer(r, w.StatusCode, body); err != nil {
		o.t.Errorf("%s %s: %v\n%s", r.Method, r.URL.Path, err, body)
	}
	return w, nil
}

var fieldOfCall = regexp.MustCompile(`"queue_time":"[0-9]+",`)

// The check itself sees what is missing, what is too much and what is malformed.
func TestAnswersAreHeldToTheModels(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := s.call(t, "+15005551486", `<Response/>`)
	body := s.send(t, http.MethodGet, *c.Uri, "", "")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, *c.Uri, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := checkAnswer(r, http.StatusOK, body); err != nil {
		t.Errorf("an honest answer: %v", err)
	}
	for name, with := range map[string]string{"a field less": ``, "a field more": `"queue_time":"0","mood":"good",`, "a field of another type": `"queue_time":0,`} {
		if err := checkAnswer(r, http.StatusOK, fieldOfCall.ReplaceAll(body, []byte(with))); err == nil {
			t.Errorf("%s is not noticed", name)
		}
	}
	if doc, err := description(); err != nil {
		t.Fatal(err)
	} else if doc == nil {
		t.Skip("no OpenAPI description beside the project")
	}
	if err := checkAnswer(r, http.StatusOK, bytes.ReplaceAll(body, []byte(" +0000"), []byte(" GMT"))); err == nil {
		t.Error("a date of another format is not noticed")
	}
}
