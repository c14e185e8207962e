package callapi

import (
	_ "embed"
	"encoding/json"
	"html/template"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"
)

const (
	openAPIPath = "/openapi.json"
	docsPath    = "/docs"
)

// describe makes what checks requests against their schemas, and describes them: OpenAPI 3.1 and a page of it.
func (a *api) describe(r chi.Router) huma.API {
	useProblems()
	cfg := huma.DefaultConfig("TwilioCall", a.Version)
	cfg.Info.Description = "Voice call sessions. The same calls as those of the Calls API under /2010-04-01: whatever one API does, the other shows at once."
	cfg.OpenAPIPath, cfg.DocsPath, cfg.SchemasPath = "", "", "" // without authentication, below
	cfg.CreateHooks = nil                                       // no $schema in answers
	cfg.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"basic": {Type: "http", Scheme: "basic", Description: "AccountSid and AuthToken, or the SID and secret of an API key, as for the Calls API."},
	}
	h := humachi.New(r, cfg)
	r.Get(openAPIPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openapi+json")
		_ = json.NewEncoder(w).Encode(h.OpenAPI()) // the client is gone when this fails
	})
	r.Get(docsPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
		_ = docsPage.Execute(w, h.OpenAPI())
	})
	return h
}

//go:embed docs.html
var docsHTML string

// docsPage shows an OpenAPI document without a script or a byte from elsewhere.
var docsPage = template.Must(template.New("docs").Funcs(template.FuncMap{
	"operations": func(p *huma.PathItem) map[string]*huma.Operation {
		all := map[string]*huma.Operation{}
		for method, op := range map[string]*huma.Operation{"GET": p.Get, "POST": p.Post, "PATCH": p.Patch, "DELETE": p.Delete} {
			if op != nil {
				all[method] = op
			}
		}
		return all
	},
	"schema": func(doc *huma.OpenAPI, s *huma.Schema) *huma.Schema {
		for s != nil && s.Ref != "" {
			s = doc.Components.Schemas.SchemaFromRef(s.Ref)
		}
		return s
	},
	"type": func(s *huma.Schema) string {
		switch {
		case s == nil:
			return ""
		case s.Type == huma.TypeArray && s.Items != nil:
			return "array of " + s.Items.Type
		case s.Nullable:
			return s.Type + " or null"
		}
		return s.Type
	},
	"list": func(s *huma.Schema) bool { return s.Type == huma.TypeArray },
}).Parse(docsHTML))
