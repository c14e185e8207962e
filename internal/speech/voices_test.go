package speech

import (
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestResolve(t *testing.T) {
	espeak := &espeakLanguages{"de": true, "es": true, "cmn": true, "ar": true, "en": true, "fr": true}
	type row struct {
		Voice, Language   string // asked for
		Engine, ID, Speak string // got
		Warning, Mismatch int
	}
	tests := map[string]struct {
		engine string
		espeak *espeakLanguages
		rows   []row
	}{
		"built in, with espeak-ng": {EngineBuiltin, espeak, []row{
			{Engine: EngineBuiltin, ID: "rms", Speak: "en-US"},
			{Voice: "man", Engine: EngineBuiltin, ID: "rms", Speak: "en-US"},
			{Voice: "man", Language: "en-GB", Engine: EngineBuiltin, ID: "awb", Speak: "en-GB"},
			{Voice: "woman", Engine: EngineBuiltin, ID: "slt", Speak: "en-US"},
			{Voice: "alice", Language: "en", Engine: EngineBuiltin, ID: "slt", Speak: "en"},
			{Voice: "Polly.Joanna", Engine: EngineBuiltin, ID: "slt", Speak: "en-US"},
			{Voice: "Polly.Matthew-Neural", Language: "en-US", Engine: EngineBuiltin, ID: "rms", Speak: "en-US"},
			{Voice: "polly.ruth-generative", Engine: EngineBuiltin, ID: "slt", Speak: "en-US"},
			{Voice: "Polly.Brian", Engine: EngineBuiltin, ID: "awb", Speak: "en-GB"},
			{Voice: "Polly.Kevin", Engine: EngineBuiltin, ID: "kal", Speak: "en-US"},
			{Voice: "Google.en-US-Standard-B", Engine: EngineBuiltin, ID: "rms", Speak: "en-US"},
			{Voice: "Google.en-US-Chirp3-HD-Aoede", Engine: EngineBuiltin, ID: "slt", Speak: "en-US"},
			{Voice: "Google.en-GB-Chirp3-HD-Puck", Engine: EngineBuiltin, ID: "awb", Speak: "en-GB"},
			{Voice: "Polly.Mía-Generative", Engine: EngineEspeak, ID: "es-419+f3", Speak: "es-MX"},
			{Voice: "Polly.Hans", Engine: EngineEspeak, ID: "de-de", Speak: "de-DE"},
			{Voice: "woman", Language: "de", Engine: EngineEspeak, ID: "de+f3", Speak: "de"},
			{Voice: "alice", Language: "zh-CN", Engine: EngineEspeak, ID: "cmn+f3", Speak: "zh-CN"},
			{Voice: "Polly.Zhiyu", Language: "zh-CN", Engine: EngineEspeak, ID: "cmn+f3", Speak: "zh-CN"},
			{Voice: "Polly.Zeina", Engine: EngineEspeak, ID: "ar+f3", Speak: "arb"},
			{Voice: "Polly.Aditi", Language: "hi-IN", Engine: EngineBuiltin, ID: "slt", Speak: "hi-IN", Warning: 13512},
			{Voice: "Polly.Dora", Engine: EngineBuiltin, ID: "slt", Speak: "is-IS", Warning: 13512},
			{Voice: "Polly.Nobody", Engine: EngineBuiltin, ID: "rms", Speak: "en-US", Warning: 13511},
			{Voice: "robot", Language: "de-DE", Engine: EngineEspeak, ID: "de-de", Speak: "de-DE", Warning: 13511},
			{Voice: "man", Language: "german!", Engine: EngineBuiltin, ID: "rms", Speak: "en-US", Warning: 13512},
			{Voice: "Polly.Joanna", Language: "fr-FR", Engine: EngineEspeak, ID: "fr-fr+f3", Speak: "fr-FR", Mismatch: 13512},
			{Voice: "Polly.Joanna", Language: "en-GB", Engine: EngineBuiltin, ID: "slt", Speak: "en-GB", Mismatch: 13512},
			{Voice: "Google.de-DE-Wavenet-A", Language: "de", Engine: EngineEspeak, ID: "de+f3", Speak: "de"},
		}},
		"installed flite alone": {EngineFlite, nil, []row{
			{Engine: EngineFlite, ID: "rms", Speak: "en-US"},
			{Voice: "Polly.Vicki", Engine: EngineFlite, ID: "slt", Speak: "de-DE", Warning: 13512},
		}},
		"espeak-ng alone": {EngineEspeak, espeak, []row{
			{Engine: EngineEspeak, ID: "en-us", Speak: "en-US"},
			{Voice: "woman", Language: "en-GB", Engine: EngineEspeak, ID: "en-gb+f3", Speak: "en-GB"},
			{Voice: "Polly.Dora", Engine: EngineEspeak, ID: "en-us", Speak: "is-IS", Warning: 13512},
		}},
		"test": {EngineTest, nil, []row{
			{Voice: "Polly.Vicki", Engine: EngineTest, ID: EngineTest, Speak: "de-DE"},
			{Voice: "robot", Engine: EngineTest, ID: EngineTest, Speak: "en-US", Warning: 13511},
		}},
	}
	for name, test := range tests {
		v := &Voices{engine: test.engine, espeak: func() *espeakLanguages { return test.espeak }, log: slog.New(slog.DiscardHandler)}
		for _, want := range test.rows {
			voice, warnings := v.Resolve(want.Voice, want.Language)
			got := row{Voice: want.Voice, Language: want.Language, Engine: voice.Engine, ID: voice.ID, Speak: voice.Language}
			if len(warnings) > 0 {
				got.Warning = warnings[0].Code
			}
			if voice.mismatch != nil {
				got.Mismatch = voice.mismatch.Code
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%s (-want +got):\n%s", name, d)
			}
		}
	}
}

func TestEveryPollyVoiceIsWhole(t *testing.T) {
	voices := pollyVoices()
	if len(voices) < 95 {
		t.Errorf("only %d voices", len(voices))
	}
	for name, v := range voices {
		for _, l := range v.languages {
			if !languageTag.MatchString(l) {
				t.Errorf("%s: language %q", name, l)
			}
		}
	}
}
