package apiclient

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// Resource is one JSON object as the server sent it.
type Resource struct {
	Raw    json.RawMessage
	fields map[string]any
}

func newResource(raw []byte) (Resource, error) {
	r := Resource{Raw: raw}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber() // numbers are shown as they came
	if err := d.Decode(&r.fields); err != nil {
		return Resource{}, notOurs("resource", err)
	}
	return r, nil
}

// ParseList reads a JSON array of objects.
func ParseList(raw []byte) ([]Resource, error) {
	var elements []json.RawMessage
	if err := json.Unmarshal(raw, &elements); err != nil {
		return nil, err
	}
	rows := make([]Resource, 0, len(elements))
	for _, e := range elements {
		r, err := newResource(e)
		if err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// Text is the value of a field for people: "" for null or a missing one, a list joined with commas.
func (r Resource) Text(field string) string { return text(r.fields[field]) }

func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = text(e)
		}
		return strings.Join(parts, ",")
	default:
		return fmt.Sprint(v)
	}
}
