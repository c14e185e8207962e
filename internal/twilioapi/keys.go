package twilioapi

import (
	"context"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
)

var keyForm = newForm([]param[*call.Key]{
	into("FriendlyName", func(k *call.Key) *string { return &k.FriendlyName }),
})

// routeKeys adds the API keys, which have two names (related-resources, Keys).
func (a *api) routeKeys() {
	const account = "/Accounts/{AccountSid}"
	for _, collection := range [...]struct{ path, key, name string }{
		{"/Keys", "keys", "key"}, {"/SigningKeys", "signing_keys", "signing_key"},
	} {
		if a.Keys == nil {
			a.none(account + collection.path)
			continue
		}
		routeResource(a, resource[*call.Key]{
			path: collection.path, key: collection.key, prefix: twilio.KeyPrefix, records: a.Keys, byToken: true,
			fresh: func(*request, []string) *call.Key {
				k := &call.Key{}
				k.Conceal()
				return k
			},
			create: keyForm, update: keyForm, check: (*call.Key).Validate,
			made:    func(created, stored *call.Key) { stored.Secret = created.Secret },
			changed: func(context.Context) error { a.Gate.Forget(); return nil },
			write:   func(e *enc, k *call.Key, _ string) { e.key(collection.name, k) },
		})
	}
}

// key writes a key, with its secret while that is known.
func (e *enc) key(name string, k *call.Key) {
	e.object(name, func() {
		e.str("sid", k.SID)
		e.str("friendly_name", k.FriendlyName)
		e.time("date_created", k.DateCreated)
		e.time("date_updated", k.DateUpdated)
		if k.Secret != "" {
			e.str("secret", k.Secret)
		}
	})
}
