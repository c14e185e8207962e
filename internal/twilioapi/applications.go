package twilioapi

import (
	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
)

// applicationForm are the parameters of create and update (related-resources, Applications).
var applicationForm = newForm([]param[*call.Application]{
	into("FriendlyName", func(a *call.Application) *string { return &a.FriendlyName }),
	into("VoiceUrl", func(a *call.Application) *string { return &a.Voice.URL }),
	into("VoiceMethod", func(a *call.Application) *string { return &a.Voice.Method }),
	into("VoiceFallbackUrl", func(a *call.Application) *string { return &a.Voice.FallbackURL }),
	into("VoiceFallbackMethod", func(a *call.Application) *string { return &a.Voice.FallbackMethod }),
	into("StatusCallback", func(a *call.Application) *string { return &a.Voice.StatusURL }),
	into("StatusCallbackMethod", func(a *call.Application) *string { return &a.Voice.StatusMethod }),
	truth("VoiceCallerIdLookup", func(a *call.Application) *bool { return &a.CallerIDLookup }),
	truth("PublicApplicationConnectEnabled", func(a *call.Application) *bool { return &a.Public }),

	notYet[*call.Application]("ApiVersion", apiVersion),
	notYet[*call.Application]("MessageStatusCallback"),
	notYet[*call.Application]("SmsFallbackMethod", "POST"),
	notYet[*call.Application]("SmsFallbackUrl"),
	notYet[*call.Application]("SmsMethod", "POST"),
	notYet[*call.Application]("SmsStatusCallback"),
	notYet[*call.Application]("SmsUrl"),
})

func (a *api) routeApplications() {
	routeResource(a, resource[*call.Application]{
		path: "/Applications", key: "applications", prefix: twilio.ApplicationPrefix, records: a.Routing.Applications,
		fresh:  func(*request, []string) *call.Application { return &call.Application{} },
		create: applicationForm, update: applicationForm, check: (*call.Application).Validate, byName: true,
		write: (*enc).application,
	})
}

func (e *enc) application(a *call.Application, at string) {
	e.object("application", func() {
		e.str("sid", a.SID)
		e.str("account_sid", a.AccountSID)
		e.str("api_version", apiVersion)
		e.str("friendly_name", a.FriendlyName)
		e.opt("voice_url", a.Voice.URL)
		e.str("voice_method", a.Voice.Method)
		e.opt("voice_fallback_url", a.Voice.FallbackURL)
		e.str("voice_fallback_method", a.Voice.FallbackMethod)
		e.opt("status_callback", a.Voice.StatusURL)
		e.str("status_callback_method", a.Voice.StatusMethod)
		e.bool("voice_caller_id_lookup", a.CallerIDLookup)
		e.bool("public_application_connect_enabled", a.Public)
		e.null("sms_url")
		e.str("sms_method", "POST")
		e.null("sms_fallback_url")
		e.str("sms_fallback_method", "POST")
		e.null("sms_status_callback")
		e.null("message_status_callback")
		e.time("date_created", a.DateCreated)
		e.time("date_updated", a.DateUpdated)
		e.self(at, "/", a.SID)
	})
}
