package twilioapi

import (
	"errors"
	"net/http"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
)

// numberParams creates or changes a number; nil fields were not given.
type numberParams struct {
	phone                                         string
	friendlyName                                  *string
	voiceURL, voiceMethod, fallback, fallbackMeth *string
	statusURL, statusMethod, trunk, application   *string
	lookup                                        *bool
}

// numberFields are the parameters of create and update (related-resources, IncomingPhoneNumbers).
var numberFields = []param[numberParams]{
	change("FriendlyName", func(p *numberParams) **string { return &p.friendlyName }),
	change("VoiceUrl", func(p *numberParams) **string { return &p.voiceURL }),
	change("VoiceMethod", func(p *numberParams) **string { return &p.voiceMethod }),
	change("VoiceFallbackUrl", func(p *numberParams) **string { return &p.fallback }),
	change("VoiceFallbackMethod", func(p *numberParams) **string { return &p.fallbackMeth }),
	change("StatusCallback", func(p *numberParams) **string { return &p.statusURL }),
	change("StatusCallbackMethod", func(p *numberParams) **string { return &p.statusMethod }),
	change("TrunkSid", func(p *numberParams) **string { return &p.trunk }),
	change("VoiceApplicationSid", func(p *numberParams) **string { return &p.application }),
	boolean("VoiceCallerIdLookup", func(p *numberParams) **bool { return &p.lookup }),

	notYet[numberParams]("AddressSid"),
	notYet[numberParams]("ApiVersion", apiVersion),
	notYet[numberParams]("BundleSid"),
	notYet[numberParams]("EmergencyAddressSid"),
	notYet[numberParams]("EmergencyStatus", "Inactive"),
	notYet[numberParams]("IdentitySid"),
	notYet[numberParams]("SmsApplicationSid"),
	notYet[numberParams]("SmsFallbackMethod", "POST"),
	notYet[numberParams]("SmsFallbackUrl"),
	notYet[numberParams]("SmsMethod", "POST"),
	notYet[numberParams]("SmsUrl"),
	notYet[numberParams]("VoiceReceiveMode", "voice"),
}

var (
	numberCreateForm = newForm(numberFields, []param[numberParams]{
		text("PhoneNumber", func(p *numberParams) *string { return &p.phone }),
		notYet[numberParams]("AreaCode"),
	})
	numberUpdateForm = newForm(numberFields, []param[numberParams]{
		notYet[numberParams]("AccountSid"), // would move the number to another account
	})
)

// apply writes what was given into n; an empty method is the default again.
func (p *numberParams) apply(n *call.Number) {
	for _, f := range [...]struct {
		field *string
		value *string
	}{
		{&n.FriendlyName, p.friendlyName}, {&n.VoiceURL, p.voiceURL}, {&n.VoiceMethod, p.voiceMethod},
		{&n.VoiceFallback, p.fallback}, {&n.FallbackMethod, p.fallbackMeth},
		{&n.StatusURL, p.statusURL}, {&n.StatusMethod, p.statusMethod}, {&n.ApplicationSID, p.application},
	} {
		if f.value != nil {
			*f.field = *f.value
		}
	}
	if p.lookup != nil {
		n.CallerIDLookup = *p.lookup
	}
	if p.trunk != nil {
		n.PutOn(*p.trunk)
	}
}

func (a *api) createNumber(q *request) error {
	var p numberParams
	required := func() error {
		if p.phone == "" {
			return twilio.Errf(21421, "PhoneNumber is required")
		}
		return nil
	}
	if _, err := numberCreateForm.decode(q, &p, required); err != nil {
		return err
	}
	now := a.Clock.Now().UTC()
	n := &call.Number{
		SID: twilio.NewSIDAt(twilio.NumberPrefix, now), AccountSID: q.account.SID, PhoneNumber: p.phone,
		DateCreated: now, DateUpdated: now,
	}
	p.apply(n)
	if err := n.Validate(); err != nil {
		return err
	}
	err := a.Store.CreateNumber(q.r.Context(), n)
	if errors.Is(err, call.ErrConflict) {
		return twilio.Err(21422, n.PhoneNumber)
	}
	if err != nil {
		return err
	}
	q.sendNumber(http.StatusCreated, n)
	return nil
}

func (a *api) fetchNumber(q *request) error {
	n, err := a.number(q)
	if err != nil {
		return err
	}
	q.sendNumber(http.StatusOK, n)
	return nil
}

// number is the one that the path names.
func (a *api) number(q *request) (*call.Number, error) {
	sid, err := q.sid("Sid", twilio.NumberPrefix)
	if err != nil {
		return nil, err
	}
	return a.Store.Number(q.r.Context(), q.account.SID, sid)
}

func (a *api) updateNumber(q *request) error {
	found, err := a.number(q)
	if err != nil {
		return err
	}
	var p numberParams
	if _, err := numberUpdateForm.decode(q, &p, nil); err != nil {
		return err
	}
	n := *found
	p.apply(&n)
	if err := n.Validate(); err != nil {
		return err
	}
	n.DateUpdated = a.Clock.Now().UTC()
	if err := a.Store.UpdateNumber(q.r.Context(), &n); err != nil {
		return err
	}
	q.sendNumber(http.StatusOK, &n)
	return nil
}

func (a *api) deleteNumber(q *request) error {
	sid, err := q.sid("Sid", twilio.NumberPrefix)
	if err != nil {
		return err
	}
	if err := a.Store.DeleteNumber(q.r.Context(), q.account.SID, sid); err != nil {
		return err
	}
	q.send(http.StatusNoContent)
	return nil
}

// numberQuery is a list request.
type numberQuery struct {
	page
	call.NumberFilter
}

var numberListForm = newForm(
	filters(
		param[numberQuery]{name: "PhoneNumber", read: func(l *numberQuery, value string) error {
			if number, _, ok := call.ParseNumber(value); ok {
				value = number
			}
			l.PhoneNumber = value
			return nil
		}},
		text("FriendlyName", func(l *numberQuery) *string { return &l.FriendlyName }),
		notYet[numberQuery]("Beta", "false"),
		notYet[numberQuery]("Origin"),
	),
	pageParams(func(l *numberQuery) *page { return &l.page }),
)

func (a *api) listNumbers(q *request) error {
	var l numberQuery
	given, err := numberListForm.decode(q, &l, nil)
	if err == nil {
		err = l.check(given, twilio.NumberPrefix)
	}
	if err != nil {
		return err
	}
	l.AccountSID = q.account.SID
	l.Limit, l.Offset, l.Cursor = l.cursor()
	numbers, more, err := a.Store.ListNumbers(q.r.Context(), l.NumberFilter)
	if err != nil {
		return err
	}
	q.list(&l.page, base+"/Accounts/"+q.account.SID+"/IncomingPhoneNumbers", "incoming_phone_numbers", len(numbers), more,
		func(i int) twilio.PageToken { return numbers[i].PageToken() },
		func(i int) { q.enc.phoneNumber(numbers[i]) })
	q.send(http.StatusOK)
	return nil
}

func (q *request) sendNumber(status int, n *call.Number) {
	q.sendOne(status, func() { q.enc.phoneNumber(n) })
}

// phoneNumber writes a number. What this version has no notion of has the value of a number that
// does not use it.
func (e *enc) phoneNumber(n *call.Number) {
	e.object("incoming_phone_number", func() {
		e.str("sid", n.SID)
		e.str("account_sid", n.AccountSID)
		e.numberFields(n)
		e.str("voice_receive_mode", "voice")
		e.null("address_sid")
		e.str("emergency_status", "Inactive")
		e.null("emergency_address_sid")
		e.str("emergency_address_status", "unregistered")
		e.null("identity_sid")
		e.null("bundle_sid")
		e.str("origin", "hosted")
		e.str("status", "in-use")
		e.null("type")
		e.time("date_created", n.DateCreated)
		e.time("date_updated", n.DateUpdated)
		e.link("uri", base+"/Accounts/", n.AccountSID, "/IncomingPhoneNumbers/", n.SID)
	})
}

// numberFields writes what both faces of a number have.
func (e *enc) numberFields(n *call.Number) {
	e.str("friendly_name", n.FriendlyName)
	e.str("phone_number", n.PhoneNumber)
	e.str("voice_url", n.VoiceURL)
	e.str("voice_method", n.VoiceMethod)
	e.str("voice_fallback_url", n.VoiceFallback)
	e.str("voice_fallback_method", n.FallbackMethod)
	e.bool("voice_caller_id_lookup", n.CallerIDLookup)
	e.str("voice_application_sid", n.ApplicationSID)
	e.str("status_callback", n.StatusURL)
	e.str("status_callback_method", n.StatusMethod)
	e.opt("trunk_sid", n.TrunkSID)
	e.str("sms_application_sid", "")
	e.str("sms_url", "")
	e.str("sms_method", "POST")
	e.str("sms_fallback_url", "")
	e.str("sms_fallback_method", "POST")
	e.child("capabilities", func() {
		e.bool("voice", true)
		e.bool("sms", false)
		e.bool("mms", false)
		e.bool("fax", false)
	})
	e.str("address_requirements", "none")
	e.bool("beta", false)
	e.str("api_version", apiVersion)
}
