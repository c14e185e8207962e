package call

import (
	"maps"
	"strings"
	"testing"
)

func TestNoteIsAMergePatch(t *testing.T) {
	before := map[string]any{"a": "1", "b": 2.0}
	text := "new"
	for name, tc := range map[string]struct {
		note       Note
		annotation string
		metadata   map[string]any
		refused    string
	}{
		"nothing":            {Note{}, "old", before, ""},
		"annotation":         {Note{Annotation: &text}, "new", before, ""},
		"set and remove":     {Note{Metadata: map[string]any{"a": nil, "c": true, "x": nil}}, "old", map[string]any{"b": 2.0, "c": true}, ""},
		"all of it":          {Note{Clear: true}, "old", map[string]any{}, ""},
		"an object":          {Note{Metadata: map[string]any{"c": map[string]any{}}}, "", nil, "string, a number or a boolean"},
		"a long value":       {Note{Metadata: map[string]any{"c": strings.Repeat("ä", 501)}}, "", nil, "500"},
		"a key of no letter": {Note{Metadata: map[string]any{"": 1.0}}, "", nil, "1 to 40"},
		"a long key":         {Note{Metadata: map[string]any{strings.Repeat("k", 41): 1.0}}, "", nil, "1 to 40"},
	} {
		annotation, metadata, err := tc.note.Apply("old", before)
		if tc.refused != "" {
			if err == nil || !strings.Contains(err.Error(), tc.refused) {
				t.Errorf("%s: %v, want %q", name, err, tc.refused)
			}
			continue
		}
		if err != nil || annotation != tc.annotation || !maps.Equal(metadata, tc.metadata) {
			t.Errorf("%s: %q %v %v", name, annotation, metadata, err)
		}
	}
	if len(before) != 2 {
		t.Error("the patch changed what it was given")
	}
	many := map[string]any{}
	for i := range 51 {
		many[strings.Repeat("k", i%40+1)+string(rune('a'+i/40))] = i
	}
	if _, _, err := (&Note{Metadata: many}).Apply("", nil); err == nil {
		t.Error("51 keys taken")
	}
	long := strings.Repeat("x", 1025)
	if _, _, err := (&Note{Annotation: &long}).Apply("", nil); err == nil {
		t.Error("a long annotation taken")
	}
}
