package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// configFile is a flag that names a JSON file of other flags' values. An unknown key is an error:
// a misspelt setting must not be silently off.
type configFile string

// BeforeResolve reads the file, once kong knows its name and before it looks for other flags' values.
func (configFile) BeforeResolve(ctx *kong.Context, trace *kong.Path) error {
	if ctx.Selected() == nil || ctx.Selected().Name != "serve" {
		return nil // OFFHOOK_CONFIG is set, and another command runs
	}
	name := string(ctx.FlagValue(trace.Flag).(configFile))
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	values := map[string]any{}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	err = d.Decode(&values)
	if _, more := d.Token(); err == nil && !errors.Is(more, io.EOF) {
		err = errors.New("something follows it")
	}
	if err != nil {
		return fmt.Errorf("%s: want a JSON object such as {\"http\": \"127.0.0.1:4600\"}: %w", name, err)
	}
	var known, shown []string
	for _, flag := range ctx.Flags() {
		if flag.Name == "help" || flag.Name == "config" {
			continue
		}
		if known = append(known, flag.Name); !flag.Hidden {
			shown = append(shown, flag.Name)
		}
	}
	for key := range values {
		if !slices.Contains(known, key) {
			return fmt.Errorf("%s: unknown key %q; the keys are %s", name, key, strings.Join(shown, ", "))
		}
	}
	ctx.AddResolver(kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		for _, env := range flag.Envs {
			if _, ok := os.LookupEnv(env); ok {
				return nil, nil // the environment wins
			}
		}
		v, ok := values[flag.Name]
		if n, is := v.(json.Number); is {
			v = n.String()
		}
		if !ok {
			return nil, nil
		}
		return v, nil
	}))
	return nil
}
