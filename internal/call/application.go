package call

import "github.com/offhook/offhook/internal/twilio"

// Application says what happens to calls, under one name for numbers, for creates and for <Dial>.
type Application struct {
	Record              // AP…
	FriendlyName string // at most 64 characters
	Voice        Voice
	// CallerIDLookup has CallerName told to the application of those who call.
	CallerIDLookup bool
	// Public lets the documents of other accounts dial it.
	Public bool
}

// AppScheme begins the To of a call that a <Dial> makes to an application.
const AppScheme = "app:"

// Admits reports whether an account may dial a.
func (a *Application) Admits(accountSID string) bool { return a.Public || a.AccountSID == accountSID }

// Validate checks an application and fills in defaults. Its error is a *twilio.Error.
func (a *Application) Validate() error {
	v := &a.Voice
	return firstError(
		func() error { return checkName(a.FriendlyName, maxFriendlyName) },
		func() error { return checkURL(11100, "VoiceUrl", v.URL) },
		func() error { return checkMethod("VoiceMethod", &v.Method) },
		func() error { return checkURL(11100, "VoiceFallbackUrl", v.FallbackURL) },
		func() error { return checkMethod("VoiceFallbackMethod", &v.FallbackMethod) },
		func() error { return checkURL(21609, "StatusCallback", v.StatusURL) },
		func() error { return checkMethod("StatusCallbackMethod", &v.StatusMethod) },
	)
}

// ErrNoApplication refuses an ApplicationSid that the account does not have.
func ErrNoApplication(sid string) error {
	return twilio.Errf(21218, "Invalid ApplicationSid: %s", clip(sid))
}
