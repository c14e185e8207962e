package offhooktest_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/twiliocall"
)

// The table of docs/parameters.md has a row for each parameter, field, property, action and event, each row a test, and
// each of these tests exists.
func TestTheTableOfParameters(t *testing.T) {
	const file = "../docs/parameters.md"
	list, err := os.ReadFile("testdata/parameters.txt")
	if err != nil {
		t.Fatal(err)
	}
	var doc strings.Builder
	doc.WriteString("# Every parameter and field, and its proof\n\n" +
		"Made from offhooktest/testdata/parameters.txt by a test, which fails when a row has no test or one that is not there.\n")
	sources, rows, titles := proofs{}, map[string][]string{}, []string(nil)
	for line := range strings.Lines(string(list)) {
		line = strings.TrimSpace(line)
		title, isTitle := strings.CutPrefix(line, "## ")
		name, tests, isRow := strings.Cut(line, ": ")
		switch {
		case isTitle:
			titles = append(titles, title)
			fmt.Fprintf(&doc, "\n## %s\n\n| Name | Proved by |\n|---|---|\n", title)
		case strings.HasPrefix(line, "#"), line == "":
		case !isRow || len(titles) == 0:
			t.Errorf("not a row: %s", line)
		default:
			last := titles[len(titles)-1]
			rows[last] = append(rows[last], name)
			sources.check(t, line)
			fmt.Fprintf(&doc, "| `%s` | `%s` |\n", name, strings.Join(strings.Fields(tests), "`, `"))
		}
	}
	if *update {
		if err := os.WriteFile(file, []byte(doc.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if now, err := os.ReadFile(file); err != nil || string(now) != doc.String() {
		t.Errorf("docs/parameters.md is not what the table makes (%v): go test ./offhooktest -run %s -update", err, t.Name())
	}
	if len(titles) != 7 {
		t.Fatalf("sections: %q", titles)
	}
	has := func(section int, what string, want []string) {
		t.Helper()
		got := slices.Sorted(slices.Values(rows[titles[section]]))
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-%s +table):\n%s", titles[section], what, diff)
		}
	}
	has(3, "answer", keys(t, "../internal/twilioapi/testdata/call.json"))
	var properties []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[twiliocall.Call]()) {
		properties = append(properties, f.Tag.Get("json"))
	}
	has(4, "resource", properties)
	has(5, "specification", strings.Fields("create retrieve update delete list redirect hangup hold unhold mute unmute record stopRecording"))
	has(6, "specification", strings.Fields("created queued ringing answered in-progress completed failed busy no-answer canceled Recording.started Recording.completed"))
	for section, n := range []int{37, 14, 11, 27, 29} {
		if got := len(rows[titles[section]]); got != n {
			t.Errorf("%s has %d rows, want %d", titles[section], got, n)
		}
	}

	b, err := os.ReadFile(filepath.Join("..", "..", "shared", "spec", "twilio_api_v2010.voice.json"))
	if err != nil {
		t.Log("no OpenAPI description beside the repository: the table is not compared with it")
		return
	}
	var spec struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(b, &spec); err != nil {
		t.Fatal(err)
	}
	for section, o := range []struct{ path, method string }{{"/Calls.json", "post"}, {"/Calls.json", "get"}, {"/Calls/{Sid}.json", "post"}} {
		path := spec.Paths["/2010-04-01/Accounts/{AccountSid}"+o.path]
		has(section, "OpenAPI", append(parameters(t, path["parameters"]), operation(t, path[o.method])...))
	}
}

// keys are the members of the JSON object in a file.
func keys(t *testing.T, file string) (names []string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(b, &object); err != nil {
		t.Fatal(err)
	}
	for name := range object {
		names = append(names, name)
	}
	return names
}

// parameters are the names in a list of OpenAPI parameters.
func parameters(t *testing.T, list json.RawMessage) (names []string) {
	t.Helper()
	if list == nil {
		return nil
	}
	var all []struct{ Name string }
	if err := json.Unmarshal(list, &all); err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		names = append(names, p.Name)
	}
	return names
}

// operation are the parameters and form fields of an OpenAPI operation.
func operation(t *testing.T, o json.RawMessage) []string {
	t.Helper()
	var op struct {
		Parameters  json.RawMessage
		RequestBody struct {
			Content map[string]struct {
				Schema struct {
					Properties map[string]json.RawMessage
				}
			}
		}
	}
	if err := json.Unmarshal(o, &op); err != nil {
		t.Fatal(err)
	}
	names := parameters(t, op.Parameters)
	for _, content := range op.RequestBody.Content {
		for name := range content.Schema.Properties {
			names = append(names, name)
		}
	}
	return names
}
