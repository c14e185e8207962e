package twiml

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/internal/twilio"
)

var update = flag.Bool("update", false, "write the golden files of testdata")

// show writes a document the way the tables below expect it: verbs with what differs from the defaults,
// then the warnings as line:code.
func show(d *Document) string {
	var b strings.Builder
	for _, v := range d.Verbs {
		b.WriteString(showVerb(v) + "; ")
	}
	for _, w := range d.Warnings {
		fmt.Fprintf(&b, "!%d:%d ", w.Line, w.Code)
	}
	return strings.TrimRight(b.String(), "; ")
}

func showVerb(v Verb) string {
	b := &strings.Builder{}
	b.WriteString(v.Name())
	set := func(name string, value, def any) {
		if value != def {
			fmt.Fprintf(b, " %s=%v", name, value)
		}
	}
	switch v := v.(type) {
	case *Say:
		set("voice", v.Voice, "")
		set("language", v.Language, "")
		set("loop", v.Loop, 1)
		for _, p := range v.Parts {
			if p.Text != "" {
				fmt.Fprintf(b, " %q", p.Text)
			} else {
				fmt.Fprintf(b, " %v", p.Pause)
			}
		}
	case *Play:
		set("loop", v.Loop, 1)
		set("digits", v.Digits, "")
		set("body", string(v.Body), "")
		set("type", v.ContentType, "")
		set("url", v.URL, "")
	case *Pause:
		set("length", v.Length, time.Second)
	case *Gather:
		set("action", v.Action, "")
		set("method", v.Method, "POST")
		set("timeout", v.Timeout, 5*time.Second)
		set("finishOnKey", v.FinishOnKey, "#")
		set("numDigits", v.NumDigits, 0)
		set("actionOnEmptyResult", v.ActionOnEmptyResult, false)
		set("input", strings.Join(v.Input, "+"), "dtmf")
		set("speechTimeout", v.SpeechTimeout, time.Duration(0))
		set("maxSpeechTime", v.MaxSpeechTime, time.Minute)
		set("language", v.Language, "en-US")
		set("hints", strings.Join(v.Hints, "+"), "")
		set("speechModel", v.SpeechModel, "default")
		set("enhanced", v.Enhanced, false)
		set("profanityFilter", v.ProfanityFilter, true)
		set("partialResultCallback", v.PartialResultCallback, "")
		set("partialResultMethod", v.PartialResultMethod, "POST")
		set("bargeIn", v.BargeIn, true)
		set("debug", v.Debug, false)
		for _, p := range v.Prompts {
			fmt.Fprintf(b, " (%s)", showVerb(p))
		}
	case *Redirect:
		set("method", v.Method, "POST")
		set("url", v.URL, "")
	case *Reject:
		set("reason", v.Reason, "rejected")
	case *Dial:
		showDial(b, v)
	case *Refer:
		set("action", v.Action, "")
		set("method", v.Method, "POST")
		set("uri", v.URI, "")
		showHeaders(b, v.Headers)
	case *Record:
		set("action", v.Action, "")
		set("method", v.Method, "POST")
		set("timeout", v.Timeout, 5*time.Second)
		set("finishOnKey", v.FinishOnKey, "1234567890*#")
		set("maxLength", v.MaxLength, time.Hour)
		set("playBeep", v.PlayBeep, true)
		set("transcribe", v.Transcribe, false)
		set("transcribeCallback", v.TranscribeCallback, "")
		showRecording(set, v.Recording, "", "trim-silence")
	case *StartRecording:
		set("name", v.Label, "")
		set("dual", v.Dual, true)
		showRecording(set, v.Recording, "both", "trim-silence")
	case *StopRecording:
		set("name", v.Label, "")
	case *Unsupported:
		b.WriteString(" unsupported")
		set("feature", v.Feature, "")
	}
	return b.String()
}

func showRecording(set func(name string, value, def any), r Recording, track, trim string) {
	set("track", r.Track, track)
	set("trim", r.Trim, trim)
	set("recordingStatusCallback", r.StatusCallback, "")
	set("recordingStatusCallbackMethod", r.StatusCallbackMethod, "POST")
	set("recordingStatusCallbackEvents", strings.Join(r.StatusCallbackEvents, "+"), "completed")
	set("recordingConfiguration", r.ConfigurationID, "")
}

func code(err error) int {
	var e *twilio.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

func TestDocumentRules(t *testing.T) {
	deep := strings.Repeat("<prosody>", maxDepth) + strings.Repeat("</prosody>", maxDepth)
	for name, tt := range map[string]struct {
		body string
		want string // show, or the error's code
	}{
		"smallest":                 {`<Response/>`, ""},
		"declaration":              {`<?xml version="1.0" encoding="UTF-8"?><Response><Hangup/></Response>`, "Hangup"},
		"byte order mark":          {"\ufeff<?xml version=\"1.0\"?><Response/>", ""},
		"byte order mark only":     {"\ufeff", "!0:11770"},
		"empty":                    {"", "!0:11770"},
		"blank":                    {" \r\n", "!0:11770"},
		"blank before declaration": {"\n<?xml version=\"1.0\"?><Response/>", "12100"},
		"blank before root":        {"\n <Response/>", ""},
		"comments everywhere":      {`<!-- a --><Response><!-- b --><Say><!-- c -->Hi<!-- d --> there</Say></Response><!-- e -->`, `Say "Hi there"`},
		"processing instruction":   {`<?php echo 1 ?><Response><?x y?><Hangup/></Response>`, "Hangup"},
		"CDATA":                    {`<Response><Say><![CDATA[a < b & c]]></Say></Response>`, `Say "a < b & c"`},
		"five entities":            {`<Response><Say>&lt;&gt;&amp;&apos;&quot;&#65;&#x42;</Say></Response>`, `Say "<>&'\"AB"`},
		"unknown entity":           {`<Response><Say>&nbsp;</Say></Response>`, "12100"},
		"bare ampersand":           {`<Response><Redirect>/a?b=1&c=2</Redirect></Response>`, "12100"},
		"DOCTYPE":                  {`<!DOCTYPE Response><Response/>`, "12100"},
		"entity bomb":              {`<!DOCTYPE r [<!ENTITY a "aaaa">]><Response><Say>&a;</Say></Response>`, "12100"},
		"external entity":          {`<!DOCTYPE r [<!ENTITY a SYSTEM "file:///etc/passwd">]><Response><Say>&a;</Say></Response>`, "12100"},
		"not XML":                  {`Hello`, "12100"},
		"truncated":                {`<Response><Say>Hi`, "12100"},
		"wrong end":                {`<Response><Say>Hi</Play></Response>`, "12100"},
		"text after root":          {`<Response/>x`, "12100"},
		"second root":              {`<Response/><Response/>`, "12100"},
		"second declaration":       {`<Response/><?xml version="1.0"?>`, "12100"},
		"comment only":             {`<!-- nothing -->`, "12100"},
		"unquoted attribute":       {`<Response><Say loop=1>Hi</Say></Response>`, "12100"},
		"attribute twice":          {`<Response><Say loop="1" loop="2">Hi</Say></Response>`, "12100"},
		"invalid UTF-8":            {"<Response><Say>\xe4</Say></Response>", "12100"},
		"control character":        {"<Response><Say>\x01</Say></Response>", "12100"},
		"Latin-1":                  {"<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><Response><Say>gr\xfc\xdfe</Say></Response>", `Say "grüße"`},
		"unknown encoding":         {`<?xml version="1.0" encoding="EBCDIC"?><Response/>`, "12100"},
		"XML 1.1":                  {`<?xml version="1.1"?><Response/>`, "12100"},
		"deep":                     {`<Response><Say>` + deep + `</Say></Response>`, "12100"},
		"many":                     {`<Response>` + strings.Repeat("<Pause/>", maxElements) + `</Response>`, "12100"},
		"other root":               {`<Say>Hi</Say>`, "12102"},
		"HTML":                     {`<html><body>Internal error</body></html>`, "12102"},
		"root in lower case":       {`<response/>`, "12102"},
		"version":                  {`<Response version="1.0"/>`, ""},
		"version by date":          {`<Response version="2010-04-01"/>`, ""},
		"bad version":              {`<Response version="latest"/>`, "12101"},
		"namespaces":               {`<Response xmlns="urn:x" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:noNamespaceSchemaLocation="x.xsd"><Hangup/></Response>`, "Hangup"},
		"prefix":                   {`<Response><x:Say>Hi</x:Say></Response>`, "!1:12200"},
		"attribute of the root":    {`<Response lang="en"/>`, "!1:12200"},
		"text in the root":         {"<Response>\nHello<Hangup/></Response>", "Hangup; !1:12200"},
		"verb in lower case":       {"<Response>\n<say>Hi</say><Hangup/></Response>", "Hangup; !2:12200"},
		"unknown verb":             {"<Response>\n\n<Sing>Hi</Sing><Hangup/></Response>", "Hangup; !3:12200"},
		"unknown attribute":        {`<Response><Hangup now="1"/></Response>`, "Hangup; !1:12200"},
		"verbs offhook has not yet": {`<Response><Say>a</Say><Dial><Conference>r</Conference></Dial><Enqueue>q</Enqueue><Leave/><Connect/><Start><Stream/></Start><Stop><Siprec/></Stop><Pay/><Prompt/><Sms/><Queue/><Echo/><Hangup/></Response>`,
			`Say "a"; Dial unsupported feature=<Conference>; Enqueue unsupported; Leave unsupported; Connect unsupported; Start unsupported feature=<Stream>; Stop unsupported feature=<Siprec>; Pay unsupported; Prompt unsupported; Sms unsupported; Queue unsupported; Echo unsupported; Hangup`},
		"error after warnings": {`<Response><Sing/><Play/></Response>`, "11100"},
	} {
		t.Run(name, func(t *testing.T) { check(t, tt.body, tt.want) })
	}
}

func check(t *testing.T, body, want string) {
	t.Helper()
	d, err := Parse([]byte(body))
	got := ""
	if err != nil {
		got = fmt.Sprint(code(err))
	} else {
		got = show(d)
	}
	if got != want {
		t.Errorf("got  %s\nwant %s\nerror: %v", got, want, err)
	}
}

func TestVerbs(t *testing.T) {
	long := strings.Repeat("word ", 819) // 4095 characters, 4913 URL-encoded with the last space trimmed away
	for name, tt := range map[string]struct{ body, want string }{
		"say": {`<Say>  Hello,
			 world </Say>`, `Say "Hello, world"`},
		"say with all":              {`<Say voice="Polly.Joanna-Neural" language="en-GB" loop="0">x</Say>`, `Say voice=Polly.Joanna-Neural language=en-GB loop=0 "x"`},
		"say voices":                {`<Say voice="alice">x</Say><Say voice="Google.cmn-CN-Standard-A" language="cmn-CN">x</Say>`, `Say voice=alice "x"; Say voice=Google.cmn-CN-Standard-A language=cmn-CN "x"`},
		"say bad voice":             {`<Say voice="bob">x</Say><Say voice="Polly.">x</Say><Say voice="man.x">x</Say>`, `Say "x"; Say "x"; Say "x"; !1:13511 !1:13511 !1:13511`},
		"say bad language":          {`<Say language="english!">x</Say><Say language="e">x</Say>`, `Say "x"; Say "x"; !1:13512 !1:13512`},
		"say bad loop":              {`<Say loop="abc">x</Say><Say loop="-1">x</Say><Say loop="1001">x</Say><Say loop="99999999999999999999">x</Say>`, `Say "x"; Say "x"; Say loop=1000 "x"; Say "x"; !1:13510 !1:13510 !1:13510 !1:13510`},
		"say nothing":               {`<Say> </Say><Say/><Hangup/>`, `Hangup; !1:13520 !1:13520`},
		"say too much":              {`<Say>` + strings.Repeat("a", 4097) + `</Say>`, `!1:13521`},
		"say too much for Polly":    {`<Say voice="Polly.Amy">` + strings.Repeat("a", 3001) + `</Say>`, `!1:13521`},
		"say just enough":           {`<Say>` + strings.Repeat("a", 4096) + `</Say>`, `Say "` + strings.Repeat("a", 4096) + `"`},
		"say spaces encode as one":  {`<Say>` + long + `</Say>`, `Say "` + strings.TrimSpace(long) + `"`},
		"say too much when encoded": {`<Say>` + strings.Repeat("ä", 751) + `</Say>`, `!1:13521`},

		"break":                  {`<Say>a<break/>b<break strength="x-strong"/>c<break time="2s"/>d<break time="500ms"/>e<break time="0.5s"/>f</Say>`, `Say "a" 250ms "b" 800ms "c" 2s "d" 500ms "e" 500ms "f"`},
		"break none":             {`<Say>a<break strength="none"/>b</Say>`, `Say "a" "b"`},
		"break too long":         {`<Say>a<break time="99999999999s"/></Say>`, `Say "a" 10s`},
		"break bad":              {`<Say>a<break time="soon"/>b<break strength="huge"/>c<break time=".s"/>d</Say>`, `Say "a" 250ms "b" 250ms "c" 250ms "d"; !1:12200 !1:12200 !1:12200`},
		"break alone":            {`<Say><break time="3s"/></Say>`, `Say 3s`},
		"break and break":        {`<Say>a<break time="1s"/><break time="1s"/>b</Say>`, `Say "a" 2s "b"`},
		"sentences":              {`<Say><s>One.</s><s>Two.</s></Say>`, `Say "One." 400ms "Two."`},
		"paragraphs":             {`<Say>Zero <p><s>One.</s><s>Two.</s></p> <p>Three.</p> Four</Say>`, `Say "Zero" 800ms "One." 400ms "Two." 800ms "Three." 800ms "Four"`},
		"paragraph and break":    {`<Say><p>a</p><break time="2s"/><p>b</p></Say>`, `Say "a" 2s "b"`},
		"inline tags":            {`<Say>It is <emphasis level="strong">very</emphasis> <prosody rate="slow">cold</prosody>, <lang xml:lang="fr-FR">merci</lang> <w role="amazon:VB">read</w> <phoneme alphabet="ipa" ph="x">pecan</phoneme>!</Say>`, `Say "It is very cold, merci read pecan!"`},
		"sub":                    {`<Say>the <sub alias="World Wide Web Consortium">W3C</sub></Say>`, `Say "the World Wide Web Consortium"`},
		"sub without alias":      {`<Say><sub>W3C</sub></Say>`, `Say "W3C"`},
		"spell out":              {`<Say>Code<say-as interpret-as="spell-out">AB 1</say-as>ok</Say>`, `Say "Code A B 1 ok"`},
		"characters":             {`<Say><say-as interpret-as="characters">ÄB-</say-as></Say>`, `Say "Ä B -"`},
		"digits":                 {`<Say><say-as interpret-as="digits">12-34</say-as></Say>`, `Say "1 2 3 4"`},
		"telephone":              {`<Say><say-as interpret-as="telephone">+1 (415) 555-0100</say-as></Say>`, `Say "1, 4 1 5, 5 5 5, 0 1 0 0"`},
		"say-as date":            {`<Say><say-as interpret-as="date" format="mdy">1/2/2020</say-as></Say>`, `Say "1/2/2020"`},
		"say-as unknown":         {`<Say><say-as interpret-as="song">la</say-as></Say>`, `Say "la"; !1:12200`},
		"expletive":              {`<Say>you <say-as interpret-as="expletive">darn</say-as> fool</Say>`, `Say "you" 250ms "fool"`},
		"unknown tag keeps text": {`<Say>a <b>bold</b> move</Say>`, `Say "a bold move"; !1:12200`},
		"verb inside say":        {"<Say>a\n<Play>http://x/y.mp3</Play> b</Say>", `Say "a b"; !2:12200`},
		"tag in the wrong place": {`<Say><s><p>x</p></s></Say>`, `Say "x"; !1:12200`},
		"text in break":          {`<Say>a<break>x</break></Say>`, `Say "a" 250ms; !1:12200`},
		"unknown SSML attribute": {`<Say><emphasis loud="1">x</emphasis></Say>`, `Say "x"; !1:12200`},

		"play":                {`<Play> https://x.example/a%2Bb.mp3?c=d </Play>`, `Play url=https://x.example/a%2Bb.mp3?c=d`},
		"play relative":       {`<Play loop="3">sounds/a b.wav</Play>`, `Play loop=3 url=sounds/a b.wav`},
		"play digits":         {`<Play digits="wW0123456789ABCD#*"/>`, `Play digits=wW0123456789ABCD#*`},
		"play bad digits":     {`<Play digits="12e"/><Play digits=""/><Hangup/>`, `Hangup; !1:13430 !1:13430`},
		"play bad loop":       {`<Play loop="x">/a</Play>`, `Play url=/a; !1:13410`},
		"play nothing":        {`<Play/>`, `11100`},
		"play another scheme": {`<Play>ftp://x/a.wav</Play>`, `11100`},
		"play without host":   {`<Play>http:///a.wav</Play>`, `11100`},
		"play bad escape":     {`<Play>http://x/%zz</Play>`, `11100`},

		"pause":           {`<Pause/><Pause length="10"/>`, `Pause; Pause length=10s`},
		"pause bad":       {`<Pause length="0"/><Pause length="1.5"/><Pause length="x"/>`, `Pause; Pause; Pause; !1:13910 !1:13910 !1:13910`},
		"pause very long": {`<Pause length="999999999999"/>`, `Pause length=24h0m0s`},
		"pause with text": {"<Pause>\nx</Pause>", `Pause; !1:12200`},
		"pause with verb": {`<Pause><Say>x</Say></Pause>`, `Pause; !1:12200`},

		"redirect":            {`<Redirect method="get"> /next?x=%2B </Redirect>`, `Redirect method=GET url=/next?x=%2B`},
		"redirect to itself":  {`<Redirect/>`, `Redirect`},
		"redirect bad method": {`<Redirect method="PUT">/a</Redirect>`, `Redirect url=/a; !1:13710`},
		"hangup":              {`<Hangup><Parameter name="a" value="b"/></Hangup>`, `Hangup`},
		"reject":              {`<Reject/><Reject reason="busy"/>`, `Reject; Reject reason=busy`},
		"reject bad reason":   {`<Reject reason="bored"/>`, `Reject; !1:13810`},

		"gather":               {`<Gather/>`, `Gather`},
		"gather with all":      {`<Gather action="/a" method="GET" timeout="3" finishOnKey="*" numDigits="4" actionOnEmptyResult="TRUE" input="dtmf"/>`, `Gather action=/a method=GET timeout=3s finishOnKey=* numDigits=4 actionOnEmptyResult=true`},
		"gather no terminator": {`<Gather finishOnKey=""/>`, `Gather finishOnKey=`},
		"gather auto timeout":  {`<Gather timeout="auto"/>`, `Gather`},
		"gather prompts":       {"<Gather><Say>One</Say>\n<Pause length=\"2\"/><Play>/a.mp3</Play></Gather>", `Gather (Say "One") (Pause length=2s) (Play url=/a.mp3)`},
		"gather bad values": {`<Gather method="PUT" timeout="0" finishOnKey="##" numDigits="0" input="touch"/>`,
			`Gather; !1:13312 !1:13313 !1:13310 !1:13314 !1:13326`},
		"gather bad key":         {`<Gather finishOnKey="A"/>`, `Gather; !1:13310`},
		"gather empty input":     {`<Gather input=""/>`, `Gather; !1:13326`},
		"gather actionOnEmpty":   {`<Gather actionOnEmptyResult="maybe"/>`, `13338`},
		"gather nested verb":     {`<Gather><Record/><Say>x</Say><Gather/></Gather>`, `Gather (Say "x"); !1:13320 !1:13320`},
		"gather nested digits":   {`<Gather><Play digits="1"/></Gather>`, `Gather; !1:13322`},
		"gather nested empty":    {`<Gather><Say/><Play/></Gather>`, `11100`},
		"gather text":            {`<Gather>Press 1</Gather>`, `Gather; !1:12200`},
		"gather speech":          {`<Gather input="speech dtmf" action="/a"/><Hangup/>`, `Gather unsupported feature=input="speech dtmf"; Hangup`},
		"gather speech warnings": {`<Gather input="speech" speechTimeout="x" maxSpeechTime="0" bargeIn="y" speechModel="z" language="?"/>`, `Gather unsupported feature=input="speech"; !1:13334 !1:13327 !1:13328 !1:13331 !1:13332`},
		"gather speech auto":     {`<Gather speechModel="phone_call" speechTimeout="auto"/>`, "Gather speechTimeout=-1ns speechModel=phone_call; !1:13335"},
		"gather speech values":   {`<Gather speechTimeout="2" maxSpeechTime="30" language="de-DE" hints="one, two,,three" speechModel="deepgram_nova-2" enhanced="true" profanityFilter="false" partialResultCallback="/p" partialResultCallbackMethod="GET" bargeIn="false" debug="true"/>`, `Gather speechTimeout=2s maxSpeechTime=30s language=de-DE hints=one+two+three speechModel=deepgram_nova-2 enhanced=true profanityFilter=false partialResultCallback=/p partialResultMethod=GET bargeIn=false debug=true`},
		"gather long hint":       {`<Gather hints="a,` + strings.Repeat("b", 101) + `"/>`, `Gather hints=a; !1:13330`},
		"gather bad debug":       {`<Gather debug="1"/>`, `Gather; !1:12200`},
		"warnings are bounded":   {strings.Repeat("<X/>", 500), strings.TrimSpace(strings.Repeat("!1:12200 ", maxWarnings))},
	} {
		t.Run(name, func(t *testing.T) { check(t, "<Response>"+tt.body+"</Response>", tt.want) })
	}
}

func TestLinesAndWording(t *testing.T) {
	d, err := Parse([]byte("<Response>\n  <Say>a</Say>\n\n  <Sing\n  />\n<Pause\nlength='x'/> text</Response>"))
	if err != nil {
		t.Fatal(err)
	}
	if got := d.Verbs[0].Line(); got != 2 {
		t.Errorf("Say is on line %d, want 2", got)
	}
	if got := d.Verbs[1].Line(); got != 6 {
		t.Errorf("Pause is on line %d, want 6", got)
	}
	want := []Warning{
		{12200, "Invalid content was found starting with element 'Sing'. One of '{Play, Say, Pause, Gather, Record, Dial, Redirect, Reject, Hangup, Enqueue, Leave, Refer, Connect, Start, Stop, Pay, Prompt, Sms, Queue, Echo}' is expected.", 4},
		{13910, "The value 'x' of attribute 'length' on element 'Pause' is not valid.", 6},
		{12200, "Element 'Response' cannot have character [children], because the type's content type is element-only.", 7},
	}
	if diff := cmp.Diff(want, d.Warnings); diff != "" {
		t.Error(diff)
	}

	_, err = Parse([]byte("<Response>\n<Say>\n</Response>"))
	if err == nil || !strings.Contains(err.Error(), "Line 3: element <Say> closed by </Response>") {
		t.Errorf("the error does not tell the line: %v", err)
	}
}

func TestInline(t *testing.T) {
	for body, want := range map[string]int{
		`<Gather action="https://x.example/a"/>`:   0,
		`<Gather/>`:                                0,
		`<Gather action="/a"/>`:                    15004,
		`<Gather action=""/>`:                      15004,
		`<Gather action="a" input="speech"/>`:      15004,
		`<Record action="/a"/>`:                    15004,
		`<Pay action="/a"/>`:                       15004,
		`<Say>x</Say>`:                             0,
		`<Dial action="/a">+1</Dial>`:              0,
		`<Redirect>https://x.example/a</Redirect>`: 0,
	} {
		d, err := ParseInline([]byte("<Response>" + body + "</Response>"))
		if code(err) != want {
			t.Errorf("%s: %v, want code %d", body, err, want)
		}
		if err == nil && !d.Inline {
			t.Errorf("%s: the document is not marked Inline", body)
		}
	}
	if d, err := ParseInline(nil); err != nil || !d.Inline {
		t.Errorf("empty: %v, %v", d, err)
	}
}

func TestFromResponse(t *testing.T) {
	const doc = `<Response><Hangup/></Response>`
	big := strings.Repeat(" ", MaxBody)
	for _, tt := range []struct{ contentType, body, want string }{
		{"text/xml", doc, "Hangup"},
		{"text/xml; charset=utf-8", doc, "Hangup"},
		{"TEXT/XML;charset=", doc, "Hangup"},
		{"application/xml", doc, "Hangup"},
		{"text/html; charset=UTF-8", doc, "Hangup"},
		{"text/html", "<html/>", "12102"},
		{"text/xml; charset=iso-8859-1", "<Response><Say>\xe4</Say></Response>", `Say "ä"`},
		{"text/xml; charset=iso-8859-1", `<?xml version="1.0" encoding="UTF-8"?><Response><Say>ä</Say></Response>`, `Say "ä"`},
		{"text/xml; charset=iso-8859-1", "<?xml version=\"1.0\"?><Response><Say>\xe4</Say></Response>", `Say "ä"`},
		{"text/plain", doc, "Hangup"},
		{"text/plain", "Hello\n you & me", `Say "Hello you & me"`},
		{"text/plain", "<Response>", `Say "<Response>"`},
		{"text/plain; charset=ISO-8859-1", "gr\xfcn", `Say "grün"`},
		{"text/plain", "bad \xff byte", "Say \"bad \ufffd byte\""},
		{"text/plain", strings.Repeat("a", 5000), "!1:13521"},
		{"audio/mpeg", "ID3", "Play body=ID3 type=audio/mpeg"},
		{"audio/x-wav; a=b", "RIFF", "Play body=RIFF type=audio/x-wav; a=b"},
		{"audio/wav", big + doc, "Play body=" + big + doc + " type=audio/wav"},
		{"audio/ogg", "OggS", "12300"},
		{"application/json", "{}", "12300"},
		{"", doc, "12300"},
		{";;;", doc, "12300"},
		{"", "", "!0:11770"},
		{"application/json", "", "!0:11770"},
		{"audio/wav", "", "!0:11770"},
		{"text/xml", big + doc, "11750"},
		{"text/plain", big + doc, "11750"},
	} {
		d, err := FromResponse(tt.contentType, []byte(tt.body), "https://x.example/voice")
		got := ""
		if err != nil {
			got = fmt.Sprint(code(err))
		} else if got = show(d); d.URL != "https://x.example/voice" {
			t.Errorf("%s: the document has URL %q", tt.contentType, d.URL)
		}
		if got != tt.want {
			t.Errorf("%s %.40q: got %.80s, want %.80s", tt.contentType, tt.body, got, tt.want)
		}
	}
}

// TestGolden parses whole documents of testdata: FILE.xml gives FILE.txt.
func TestGolden(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.xml")
	if len(files) == 0 {
		t.Fatal("no files")
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			body, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			d, err := Parse(body)
			var b strings.Builder
			if err != nil {
				fmt.Fprintln(&b, err)
			} else {
				for _, v := range d.Verbs {
					fmt.Fprintf(&b, "%d: %s\n", v.Line(), showVerb(v))
				}
				for _, w := range d.Warnings {
					fmt.Fprintf(&b, "%d: %d %s\n", w.Line, w.Code, w.Message)
				}
			}
			golden := strings.TrimSuffix(file, ".xml") + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`<?xml version="1.0"?><Response version="1"><Say voice="man" loop="2">a<break time="1s"/><p>b</p></Say></Response>`))
	f.Add([]byte(`<Response><Gather input="dtmf" timeout="3" finishOnKey="" hints="a,b"><Say>x</Say><Play>/y</Play></Gather><Redirect/></Response>`))
	f.Add([]byte(`<Response><Play digits="1w"/><Pause length="3"/><Reject reason="busy"/><Dial/></Response>`))
	f.Add([]byte(`<Response><Dial timeout="700" callerId="client:a" record="true" recordingStatusCallbackEvent="absent">415-555-0100<Number sendDigits="w1" machineDetection="Enable">+14155550100</Number></Dial></Response>`))
	f.Add([]byte(`<Response><Dial><Sip username="u" password="p">a;b@[::1]:5080;transport=tcp;region=ie1?x-a=%20&amp;User-to-User=1</Sip></Dial></Response>`))
	f.Add([]byte(`<Response><Dial><Sip><Uri priority="2">sip:a@b</Uri><Headers><Header name="X-A" value="b"/></Headers></Sip><Client>c</Client></Dial><Refer><Sip>a@b</Sip></Refer></Response>`))
	f.Add([]byte(`<Response><Dial><Client><Identity>c</Identity><Parameter name="a" value="b"/></Client><Queue>q</Queue></Dial></Response>`))
	f.Add([]byte("\ufeff<!-- x --><Response><Say><![CDATA[&]]>&#65;<say-as interpret-as='telephone'>+1</say-as></Say></Response>"))
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, err := FromResponse("text/plain", body, "http://x/"); err != nil && code(err) != 11750 {
			t.Fatalf("plain text was refused: %v", err)
		}
		d, err := Parse(body)
		if err != nil {
			switch code(err) {
			case 12100, 12101, 12102, 11100, 13000, 13338:
			default:
				t.Fatalf("error without a known code: %v", err)
			}
			return
		}
		if len(d.Warnings) > maxWarnings {
			t.Fatalf("%d warnings", len(d.Warnings))
		}
		for _, v := range d.Verbs {
			checkVerb(t, v)
		}
		if s, err := d.Screening(); err != nil && code(err) != 13201 {
			t.Fatalf("error without a known code: %v", err)
		} else if err == nil && (len(s.Verbs) > len(d.Verbs) || len(s.Warnings) > maxWarnings) {
			t.Fatalf("%+v", s)
		}
	})
}

// checkVerb asserts what the session relies on.
func checkVerb(t *testing.T, v Verb) {
	switch v := v.(type) {
	case *Say:
		if len(v.Parts) == 0 || v.Loop < 0 || v.Loop > 1000 {
			t.Fatalf("%+v", v)
		}
		for _, p := range v.Parts {
			if (p.Text == "") == (p.Pause == 0) || p.Pause < 0 {
				t.Fatalf("%+v", v)
			}
		}
	case *Play:
		if (v.URL == "") == (v.Digits == "") || v.Loop < 0 || v.Loop > 1000 {
			if v.Digits == "" {
				t.Fatalf("%+v", v)
			}
		}
	case *Pause:
		if v.Length < time.Second || v.Length > maxWait {
			t.Fatalf("%+v", v)
		}
	case *Gather:
		if v.Timeout < time.Second || v.NumDigits < 0 || len(v.FinishOnKey) > 1 || len(v.Input) != 1 {
			t.Fatalf("%+v", v)
		}
		for _, p := range v.Prompts {
			switch p.(type) {
			case *Say, *Play, *Pause:
				checkVerb(t, p)
			default:
				t.Fatalf("%T inside Gather", p)
			}
		}
	case *Dial:
		checkDial(t, v)
	case *Refer:
		checkSIP(t, v.URI, v.Headers)
	case *Record:
		if v.Timeout < 0 || v.MaxLength < time.Second || len(v.Recording.StatusCallbackEvents) == 0 {
			t.Fatalf("%+v", v)
		}
	case *Redirect, *Hangup, *Reject, *StartRecording, *StopRecording, *Unsupported:
		if v.Name() == "" || v.Line() < 1 {
			t.Fatalf("%+v", v)
		}
	default:
		t.Fatalf("unknown verb %T", v)
	}
}

func BenchmarkParse(b *testing.B) {
	body := []byte(`<?xml version="1.0" encoding="UTF-8"?><Response><Gather numDigits="1" action="/menu"><Say voice="alice">Press one</Say></Gather><Redirect>/voice</Redirect></Response>`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(body); err != nil {
			b.Fatal(err)
		}
	}
}
