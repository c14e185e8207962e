package twilioapi

import (
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
)

// notificationQuery is a list request (related-resources, Call events and notifications).
type notificationQuery struct {
	page
	call.NotificationFilter
}

var notificationForm = newForm(
	filters(
		param[notificationQuery]{name: "Log", read: func(l *notificationQuery, value string) error {
			switch level, err := strconv.Atoi(value); {
			case value == "":
			case err == nil && (level == call.LevelError || level == call.LevelWarning):
				l.Level = &level
			default:
				return twilio.Errf(20001, "Log must be 0 (errors) or 1 (warnings): %s", clip(value))
			}
			return nil
		}},
	),
	bounds("MessageDate", func(l *notificationQuery) *time.Time { return &l.After }, func(l *notificationQuery) *time.Time { return &l.Before }),
	pageParams(func(l *notificationQuery) *page { return &l.page }),
)

// listNotifications serves a call's and the account's.
func (a *api) listNotifications(q *request) error {
	ctx, path := q.r.Context(), base+"/Accounts/"+q.account.SID
	var l notificationQuery
	if callSID := q.param("CallSid"); callSID != "" {
		if _, err := q.sid("CallSid", twilio.CallPrefix); err != nil {
			return err
		}
		if _, err := a.Store.Call(ctx, q.account.SID, callSID); err != nil {
			return err
		}
		l.CallSID, path = callSID, path+"/Calls/"+callSID
	}
	given, err := notificationForm.decode(q, &l, nil)
	if err == nil {
		err = l.check(given, twilio.NotificationPrefix)
	}
	if err != nil {
		return err
	}
	l.AccountSID = q.account.SID
	l.Limit, l.Offset, l.Cursor = l.cursor()
	list, more, err := a.Store.ListNotifications(ctx, l.NotificationFilter)
	if err != nil {
		return err
	}
	q.list(&l.page, path+"/Notifications", "notifications", len(list), more,
		func(i int) twilio.PageToken { return list[i].PageToken() },
		func(i int) { q.enc.notification(&list[i], path, false) })
	q.send(http.StatusOK)
	return nil
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
