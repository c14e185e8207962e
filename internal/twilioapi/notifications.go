package twilioapi

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
)

// maxNotifications is how far back lists of notifications reach: the newest of a call or an account.
const maxNotifications = 1000

// notificationQuery is a list request (related-resources, Call events and notifications).
type notificationQuery struct {
	page
	log           string // "0" errors, "1" warnings, "" both
	after, before time.Time
}

var notificationForm = newForm(
	filters(
		param[notificationQuery]{name: "Log", read: func(l *notificationQuery, value string) error {
			if value != "" && value != "0" && value != "1" {
				return twilio.Errf(20001, "Log must be 0 (errors) or 1 (warnings): %s", clip(value))
			}
			l.log = value
			return nil
		}},
	),
	bounds("MessageDate", func(l *notificationQuery) *time.Time { return &l.after }, func(l *notificationQuery) *time.Time { return &l.before }),
	pageParams(func(l *notificationQuery) *page { return &l.page }),
)

// listNotifications serves a call's and the account's.
func (a *api) listNotifications(q *request) error {
	ctx, path, callSID := q.r.Context(), base+"/Accounts/"+q.account.SID, q.param("CallSid")
	if callSID != "" {
		if _, err := q.sid("CallSid", twilio.CallPrefix); err != nil {
			return err
		}
		if _, err := a.Store.Call(ctx, q.account.SID, callSID); err != nil {
			return err
		}
		path += "/Calls/" + callSID
	}
	var l notificationQuery
	given, err := notificationForm.decode(q, &l, nil)
	if err == nil {
		err = l.check(given, twilio.NotificationPrefix)
	}
	if err != nil {
		return err
	}
	all, err := a.Store.Notifications(ctx, q.account.SID, callSID, maxNotifications)
	if err != nil {
		return err
	}
	list, more := l.pick(all)
	q.list(&l.page, path+"/Notifications", "notifications", len(list), more,
		func(i int) twilio.PageToken { return list[i].PageToken() },
		func(i int) { q.enc.notification(&list[i], path, false) })
	q.send(http.StatusOK)
	return nil
}

// pick filters the notifications and cuts the page out.
func (l *notificationQuery) pick(all []call.Notification) (list []call.Notification, more bool) {
	all = slices.DeleteFunc(all, func(n call.Notification) bool {
		return l.log == "0" && n.Level != call.LevelError || l.log == "1" && n.Level != call.LevelWarning ||
			n.Time.Before(l.after) || !l.before.IsZero() && !n.Time.Before(l.before)
	})
	limit, offset, at := l.cursor()
	if at.SID != "" {
		// The first that is not newer than the place: the item itself, or the one behind it when it is gone.
		i, found := slices.BinarySearchFunc(all, at, func(n call.Notification, at twilio.PageToken) int {
			return cmp.Or(cmp.Compare(at.Time, n.Time.UnixMicro()), cmp.Compare(at.SID, n.SID))
		})
		if at.Before {
			from := max(i-limit, 0)
			return all[from:i], from > 0
		}
		if offset = i; found {
			offset++
		}
	}
	from := min(offset, len(all))
	to := min(from+limit, len(all))
	return all[from:to], to < len(all)
}

func (a *api) fetchNotification(q *request) error {
	sid, err := q.sid("Sid", twilio.NotificationPrefix)
	if err != nil {
		return err
	}
	n, err := a.Store.Notification(q.r.Context(), q.account.SID, sid)
	if err != nil {
		return err
	}
	path := base + "/Accounts/" + q.account.SID
	if callSID := q.param("CallSid"); callSID != "" {
		if n.CallSID != callSID {
			return call.ErrNotFound
		}
		path += "/Calls/" + callSID
	}
	q.sendOne(http.StatusOK, func() { q.enc.notification(&n, path, true) })
	return nil
}

// notification writes one; whole adds what only the instance has. path is that of the collection's parent.
func (e *enc) notification(n *call.Notification, path string, whole bool) {
	e.object("notification", func() {
		code, level := int64(n.Code), "ERROR"
		if n.Level == call.LevelWarning {
			level = "WARN"
		}
		e.str("sid", n.SID)
		e.str("account_sid", n.AccountSID)
		e.str("api_version", apiVersion)
		e.opt("call_sid", n.CallSID)
		e.time("date_created", n.Time)
		e.time("date_updated", n.Time)
		e.time("message_date", n.Time)
		e.digits("error_code", code)
		e.digits("log", int64(n.Level))
		text := url.Values{"LogLevel": {level}, "Msg": {n.Message}}
		e.str("message_text", text.Encode()+"&ErrorCode="+strconv.Itoa(n.Code))
		e.str("more_info", twilio.MoreInfo(n.Code))
		e.opt("request_method", n.RequestMethod)
		e.str("request_url", n.RequestURL)
		if whole {
			e.str("request_variables", n.RequestParams)
			e.str("response_headers", n.ResponseHeaders)
			e.str("response_body", n.ResponseBody)
		}
		e.link("uri", path, "/Notifications/", n.SID)
	})
}
