package twiml

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/internal/audio"
	"github.com/offhook/offhook/internal/call"
)

func showDial(b *strings.Builder, d *Dial) {
	set := func(name string, value, def any) {
		if value != def {
			fmt.Fprintf(b, " %s=%v", name, value)
		}
	}
	set("action", d.Action, "")
	set("method", d.Method, "POST")
	set("answerOnBridge", d.AnswerOnBridge, false)
	set("callerId", d.CallerID, "")
	set("callReason", d.CallReason, "")
	set("hangupOnStar", d.HangupOnStar, false)
	set("timeLimit", d.TimeLimit, 4*time.Hour)
	set("timeout", d.Timeout, 30*time.Second)
	set("ringTone", d.RingTone, "")
	set("sequential", d.Sequential, false)
	set("referUrl", d.ReferURL, "")
	set("referMethod", d.ReferMethod, "POST")
	set("events", strings.Join(d.Events, "+"), "")
	set("passports", d.Passports, "")
	set("record", d.Record, DoNotRecord)
	set("track", d.Recording.Track, "both")
	set("trim", d.Recording.Trim, "do-not-trim")
	set("recordingStatusCallback", d.Recording.StatusCallback, "")
	set("recordingStatusCallbackMethod", d.Recording.StatusCallbackMethod, "POST")
	set("recordingStatusCallbackEvents", strings.Join(d.Recording.StatusCallbackEvents, "+"), "completed")
	set("recordingConfiguration", d.Recording.ConfigurationID, "")
	for _, n := range d.Nouns {
		fmt.Fprintf(b, " (%s)", showNoun(n))
	}
}

func showNoun(n Noun) string {
	b := &strings.Builder{}
	b.WriteString(n.Name())
	set := func(name string, value, def any) {
		if value != def {
			fmt.Fprintf(b, " %s=%v", name, value)
		}
	}
	switch n := n.(type) {
	case *DialNumber:
		b.WriteString(" " + n.Number)
		set("sendDigits", n.SendDigits, "")
		set("byoc", n.BYOC, "")
	case *DialClient:
		fmt.Fprintf(b, " %q", n.Identity)
		for _, p := range n.Parameters {
			fmt.Fprintf(b, " %s:%s", p.Name, p.Value)
		}
		set("notificationUrl", n.NotificationURL, "")
	case *DialSip:
		for _, t := range n.Targets {
			b.WriteString(" " + t.URI)
			set("transport", t.Transport, "")
			set("username", t.Username, "")
			set("password", t.Password, "")
			set("priority", t.Priority, 0)
			set("weight", t.Weight, 0)
		}
		showHeaders(b, n.Headers)
	}
	if n, ok := n.(*DialApplication); ok {
		b.WriteString(" " + n.SID)
		for _, p := range n.Parameters {
			fmt.Fprintf(b, " %s:%s", p.Name, p.Value)
		}
		set("customerId", n.CustomerID, "")
		set("copyParentTo", n.CopyParentTo, false)
	}
	o := n.Options()
	set("url", o.URL, "")
	set("method", o.Method, "POST")
	set("statusCallback", o.StatusCallback, "")
	set("statusCallbackMethod", o.StatusCallbackMethod, "POST")
	set("statusCallbackEvents", strings.Join(o.StatusCallbackEvents, "+"), "completed")
	if m := o.MachineDetection; m != nil {
		set("amd", m.Mode, "")
		set("timeout", m.Timeout, 30*time.Second)
		set("speech", m.SpeechThreshold, 2400*time.Millisecond)
		set("speechEnd", m.SpeechEndThreshold, 1200*time.Millisecond)
		set("silence", m.SilenceTimeout, 5*time.Second)
		set("amdCallback", m.StatusCallback, "")
		set("amdCallbackMethod", m.StatusCallbackMethod, "POST")
	}
	return b.String()
}

func showHeaders(b *strings.Builder, headers map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		fmt.Fprintf(b, " [%s: %s]", name, headers[name])
	}
}

func TestDial(t *testing.T) {
	const number = "<Number>+14155550100</Number>"
	const plain = "Dial (Number +14155550100)"
	for name, tt := range map[string]struct{ body, want string }{
		"text": {"<Dial>\n +14155550100 \n</Dial>", plain},
		"all attributes": {`<Dial action="/a" method="get" answerOnBridge="true" callerId="+14155550199" callReason="Your parcel" hangupOnStar="TRUE"
			timeLimit="60" timeout="10" ringTone="de" sequential="true" referUrl="/r" referMethod="GET" events="call-progress-event" passports="x"
			record="record-from-ringing-dual" recordingTrack="inbound" trim="trim-silence" recordingStatusCallback="/rec" recordingStatusCallbackMethod="GET"
			recordingStatusCallbackEvent="in-progress absent in-progress" recordingConfigurationId="c">+14155550100</Dial>`,
			`Dial action=/a method=GET answerOnBridge=true callerId=+14155550199 callReason=Your parcel hangupOnStar=true timeLimit=1m0s timeout=10s ringTone=de ` +
				`sequential=true referUrl=/r referMethod=GET events=call-progress-event passports=x record=record-from-ringing-dual track=inbound trim=trim-silence ` +
				`recordingStatusCallback=/rec recordingStatusCallbackMethod=GET recordingStatusCallbackEvents=in-progress+absent recordingConfiguration=c (Number +14155550100)`},
		"bad attributes": {`<Dial method="PUT" answerOnBridge="1" callerId="no/body" hangupOnStar="yes" timeLimit="0" timeout="soon" ringTone="xx" sequential="x"
			referMethod="x" events="all" record="always" recordingTrack="left" trim="x" recordingStatusCallback="ftp://x" recordingStatusCallbackMethod="x" recordingStatusCallbackEvent="done" moo="1">` + number + `</Dial>`,
			plain + "; !1:12200 !1:13210 !1:13214 !1:13216 !1:13212 !1:13220 !1:13210 !1:12200 !1:13217 !1:13622 !1:13699 !1:13210 !1:13621 !1:13219 !1:13213 !1:13218 !1:13256"},
		"timeout at its limits":      {`<Dial timeout="5">` + number + `</Dial><Dial timeout="600">` + number + `</Dial>`, "Dial timeout=5s (Number +14155550100); Dial timeout=10m0s (Number +14155550100)"},
		"timeout beyond its limits":  {`<Dial timeout="4">` + number + `</Dial><Dial timeout="601">` + number + `</Dial>`, "Dial timeout=5s (Number +14155550100); Dial timeout=10m0s (Number +14155550100); !1:13212 !1:13212"},
		"timeLimit is a day at most": {`<Dial timeLimit="999999">` + number + `</Dial>`, "Dial timeLimit=24h0m0s (Number +14155550100)"},
		"callReason of 50":           {`<Dial callReason="` + strings.Repeat("ä", 50) + `">` + number + `</Dial>`, "Dial callReason=" + strings.Repeat("ä", 50) + " (Number +14155550100)"},
		"callReason of 51":           {`<Dial callReason="` + strings.Repeat("ä", 51) + `">` + number + `</Dial>`, plain + "; !1:12200"},
		"callReason of two lines":    {`<Dial callReason="a&#13;&#10;X-A: b">` + number + `</Dial>`, plain + "; !1:12200"},
		"record as a boolean":        {`<Dial record="true">` + number + `</Dial><Dial record="false">` + number + `</Dial>`, "Dial record=record-from-answer (Number +14155550100); " + plain},
		"record by name":             {`<Dial record="record-from-answer-dual">` + number + `</Dial><Dial record="do-not-record">` + number + `</Dial>`, "Dial record=record-from-answer-dual (Number +14155550100); " + plain},
		"some recording events":      {`<Dial recordingStatusCallbackEvent="absent x">` + number + `</Dial>`, "Dial recordingStatusCallbackEvents=absent (Number +14155550100); !1:13621"},

		"callerId formatted":       {`<Dial callerId="(415) 555-0199">` + number + `</Dial>`, "Dial callerId=+14155550199 (Number +14155550100)"},
		"callerId of a client":     {`<Dial callerId="client:ada lovelace">` + number + `</Dial>`, "Dial callerId=client:ada lovelace (Number +14155550100)"},
		"callerId of nobody":       {`<Dial callerId="client:">` + number + `</Dial>`, plain + "; !1:13214"},
		"callerId for SIP":         {`<Dial callerId="front-desk_1.x+2">` + number + `</Dial>`, "Dial callerId=front-desk_1.x+2 (Number +14155550100)"},
		"callerId as a SIP URI":    {`<Dial callerId="SIP:ada@pbx.example">` + number + `</Dial>`, "Dial callerId=sip:ada@pbx.example (Number +14155550100)"},
		"callerId as a bad URI":    {`<Dial callerId="sip:a b@c">` + number + `</Dial><Dial callerId="sip:a@b?X-A=1">` + number + `</Dial>`, plain + "; " + plain + "; !1:13214 !1:13214"},
		"callerId empty":           {`<Dial callerId="">` + number + `</Dial>`, plain + "; !1:13214"},
		"callerId too long":        {`<Dial callerId="` + strings.Repeat("a", 257) + `">` + number + `</Dial>`, plain + "; !1:13248"},
		"callerId just not":        {`<Dial callerId="` + strings.Repeat("a", 256) + `">` + number + `</Dial>`, "Dial callerId=" + strings.Repeat("a", 256) + " (Number +14155550100)"},
		"callerId of two lines":    {`<Dial callerId="client:a&#10;b">` + number + `</Dial>`, plain + "; !1:13214"},
		"nobody":                   {"<Dial/>\n<Dial>\n </Dial>", "Dial; Dial; !1:13223 !2:13223"},
		"nothing that can be rung": {"<Dial>\n112</Dial>", "Dial; !2:13223"},
		"unformatted":              {`<Dial>415-555-0100</Dial><Dial>(415) 555.0100</Dial><Dial>1 415 555 0100</Dial><Dial>+1 (415) 555-0100</Dial>`, plain + "; " + plain + "; " + plain + "; " + plain},
		"not a number":             {"<Dial>bob</Dial><Dial>+0123456789</Dial><Dial>+123456</Dial><Dial>+1234567890123456</Dial><Dial>5550100</Dial><Dial>+1415+5550100</Dial><Dial>+</Dial>", "Dial; Dial; Dial; Dial; Dial; Dial; Dial; !1:13223 !1:13223 !1:13223 !1:13223 !1:13223 !1:13223 !1:13223"},
		"two in one text":          {"<Dial>+14155550100,+14155550101</Dial>", "Dial; !1:13223"},
		"text and nouns":           {"<Dial>+14155550101" + number + "+1<!-- x -->4155550102<Client>a</Client></Dial>", `Dial (Number +14155550101) (Number +14155550100) (Number +14155550102) (Client "a")`},
		"a bad one among good":     {"<Dial><Number>x</Number>\n" + number + "\n<Number/></Dial>", plain + "; !1:13223 !3:13223"},
		"unknown noun":             {"<Dial><Phone>x</Phone>" + number + "<Say>x</Say></Dial>", plain + "; !1:13215 !1:13215"},
		"application": {`<Dial><Application customerId="7" copyParentTo="true" url="/u" method="GET" statusCallback="/s" statusCallbackMethod="GET" statusCallbackEvent="answered completed">
			<ApplicationSid>AP1</ApplicationSid><Parameter name="a" value="1"/><Parameter name="b" value=""/></Application></Dial>`,
			"Dial (Application AP1 a:1 b: customerId=7 copyParentTo=true url=/u method=GET statusCallback=/s statusCallbackMethod=GET statusCallbackEvents=answered+completed)"},
		"application of nothing": {`<Dial><Application copyParentTo="x" sendDigits="1">AP1<Sid/></Application></Dial>`, "Dial; !1:12200 !1:12200 !1:12200 !1:13215"},
		"applications are alone": {`<Dial><Application><ApplicationSid>AP1</ApplicationSid></Application>` + number + `</Dial>`, "13000"},
		"ten":                    {"<Dial>" + strings.Repeat(number, 10) + "</Dial>", "Dial" + strings.Repeat(" (Number +14155550100)", 10)},
		"eleven":                 {"<Dial>" + strings.Repeat(number, 11) + "</Dial>", "Dial" + strings.Repeat(" (Number +14155550100)", 10) + "; !1:13215"},

		"not yet":          {"<Dial><Conference>r</Conference></Dial><Dial><Queue/></Dial><Dial><Sim/></Dial><Dial><WhatsApp/></Dial>", "Dial unsupported feature=<Conference>; Dial unsupported feature=<Queue>; Dial unsupported feature=<Sim>; Dial unsupported feature=<WhatsApp>"},
		"not yet and more": {"<Dial>" + number + "<Sim/></Dial>", "Dial unsupported feature=<Sim>"},
		"mixed":            {"<Dial>" + number + "<Conference>r</Conference></Dial>", "13000"},
		"mixed with text":  {"<Dial>+14155550100<Queue>q</Queue></Dial>", "13000"},
		"two rooms":        {"<Dial><Conference>r</Conference><Conference>s</Conference></Dial>", "13000"},
		"mixed with a SIM": {"<Dial><Sim/><Application/></Dial>", "13000"},

		"number with all": {`<Dial><Number sendDigits="wW1#*D" url="/u" method="GET" byoc="BY1" statusCallback="/s" statusCallbackMethod="GET" statusCallbackEvent="ringing initiated"
			machineDetection="DetectMessageEnd" machineDetectionTimeout="3" machineDetectionSpeechThreshold="1000" machineDetectionSpeechEndThreshold="500"
			machineDetectionSilenceTimeout="2000" amdStatusCallback="/m" amdStatusCallbackMethod="GET"> +14155550100 </Number></Dial>`,
			"Dial (Number +14155550100 sendDigits=wW1#*D byoc=BY1 url=/u method=GET statusCallback=/s statusCallbackMethod=GET statusCallbackEvents=ringing+initiated " +
				"amd=DetectMessageEnd timeout=3s speech=1s speechEnd=500ms silence=2s amdCallback=/m amdCallbackMethod=GET)"},
		"number with defaults": {`<Dial><Number machineDetection="Enable">+14155550100</Number></Dial>`, "Dial (Number +14155550100 amd=Enable)"},
		"number with bad ones": {`<Dial><Number sendDigits="1e" method="PUT" statusCallbackMethod="x" statusCallbackEvent="ringing, answered" machineDetection="true" machineDetectionTimeout="61" username="x">+14155550100</Number></Dial>`,
			"Dial (Number +14155550100 statusCallbackEvents=answered); !1:12200 !1:13221 !1:13221 !1:12200 !1:12200 !1:12200 !1:13222"},
		"number with events of none": {`<Dial><Number statusCallbackEvent="">+14155550100</Number></Dial>`, plain + "; !1:12200"},
		"detection within limits":    {`<Dial><Number machineDetection="Enable" machineDetectionTimeout="61" machineDetectionSpeechThreshold="999" machineDetectionSilenceTimeout="10001">+14155550100</Number></Dial>`, "Dial (Number +14155550100 amd=Enable timeout=1m0s silence=10s); !1:12200 !1:12200 !1:12200"},
		"number holds text only":     {"<Dial><Number>+1415<b/>5550100</Number></Dial>", plain + "; !1:12200"},

		"client": {`<Dial><Client url="/u" statusCallback="/s" clientNotificationUrl="/n"> ada </Client></Dial>`, `Dial (Client "ada" notificationUrl=/n url=/u statusCallback=/s)`},
		"client with parameters": {`<Dial><Client>
			<Identity> ada </Identity><Parameter name="b" value="2"/><Parameter name="a"/></Client></Dial>`, `Dial (Client "ada" b:2 a:)`},
		"client wrong":           {`<Dial><Client method="x" machineDetection="Enable"><Parameter value="1"/><Name/>ada</Client></Dial>`, `Dial (Client "ada"); !1:12200 !1:13210 !1:12200 !1:12200`},
		"client without a name":  {"<Dial><Client/><Client><Identity/></Client></Dial>", "Dial; !1:13215 !1:13215"},
		"client name of 256":     {"<Dial><Client>" + strings.Repeat("ä", 256) + "</Client></Dial>", `Dial (Client "` + strings.Repeat("ä", 256) + `")`},
		"client name of 257":     {"<Dial><Client>" + strings.Repeat("ä", 257) + "</Client></Dial>", "Dial; !1:13215"},
		"client name with break": {"<Dial><Client>a\nb</Client></Dial>", "Dial; !1:13215"},

		"sip": {`<Dial><Sip username="u" password="p" url="/u" method="GET" statusCallbackEvent="answered" machineDetection="Enable">sip:ada@pbx.example:5080;transport=TCP;user=phone</Sip></Dial>`,
			"Dial (Sip sip:ada@pbx.example:5080;transport=TCP;user=phone transport=tcp username=u password=p url=/u method=GET statusCallbackEvents=answered amd=Enable)"},
		"sip without scheme":       {"<Dial><Sip>\n ada@pbx.example\n</Sip></Dial>", "Dial (Sip sip:ada@pbx.example)"},
		"sip without user":         {"<Dial><Sip>SIP:pbx.example</Sip><Sip>sips:[2001:db8::1]:5061;transport=tls</Sip></Dial>", "Dial (Sip sip:pbx.example) (Sip sips:[2001:db8::1]:5061;transport=tls transport=tls)"},
		"sip user with parameters": {"<Dial><Sip>sip:+14155550100;npdi=yes:pw@10.0.0.1</Sip></Dial>", "Dial (Sip sip:+14155550100;npdi=yes:pw@10.0.0.1)"},
		"sip regions":              {"<Dial><Sip>sip:a@b.example;region=ie1;transport=udp;edge=dublin</Sip></Dial>", "Dial (Sip sip:a@b.example;transport=udp transport=udp)"},
		"sip bad":                  {"<Dial><Sip>tel:+14155550100</Sip><Sip>sip:@b</Sip><Sip>a b@c</Sip><Sip>a@b;transport=sctp</Sip><Sip>a@b:0</Sip><Sip>a@b:65536</Sip><Sip>a@-b</Sip><Sip>a@b..c</Sip><Sip>a@[::1</Sip><Sip>a@b;</Sip><Sip>ä@b</Sip><Sip/></Dial>", "Dial; " + strings.TrimSpace(strings.Repeat("!1:13243 ", 12))},
		"sip of 254":               {"<Dial><Sip>sip:" + strings.Repeat("a", 248) + "@b</Sip></Dial>", "Dial (Sip sip:" + strings.Repeat("a", 248) + "@b)"},
		"sip of 255":               {"<Dial><Sip>sip:" + strings.Repeat("a", 249) + "@b</Sip></Dial>", "Dial; !1:13243"},
		"sip bad method":           {`<Dial><Sip method="x" statusCallbackMethod="x" amdStatusCallbackMethod="x">a@b</Sip></Dial>`, "Dial (Sip sip:a@b); !1:13241 !1:13241 !1:13241"},
		"sip credentials":          {`<Dial><Sip username="u">a@b</Sip><Sip password="p">a@b</Sip><Sip username="u" password="">a@b</Sip><Sip username="` + strings.Repeat("u", 256) + `" password="p">a@b</Sip><Sip username="u&#10;" password="a&#10;b">a@b</Sip></Dial>`, "Dial (Sip sip:a@b) (Sip sip:a@b) (Sip sip:a@b username=u) (Sip sip:a@b) (Sip sip:a@b); !1:13249 !1:13249 !1:13249 !1:13249"},
		"sip headers in the URI":   {`<Dial><Sip>a@b?x-id=7&amp;X-Name=Ada%20L+&amp;User-to-User=abc%3Bencoding%3Dhex&amp;x-empty</Sip></Dial>`, "Dial (Sip sip:a@b [User-to-User: abc;encoding=hex] [X-Name: Ada L+] [x-empty: ] [x-id: 7])"},
		"sip headers bad":          {`<Dial><Sip>a@b?Subject=x&amp;x-=1&amp;x a=1&amp;X-A=%zz&amp;X-B=a%0D%0AVia:%20x&amp;X-C=1</Sip></Dial>`, "Dial (Sip sip:a@b [X-C: 1]); !1:13252 !1:13252 !1:13252 !1:13252 !1:13252"},
		"sip headers twice":        {`<Dial><Sip>a@b?X-A=1&amp;x-a=2</Sip></Dial>`, "Dial (Sip sip:a@b [x-a: 2])"},
		"sip headers of 1023":      {`<Dial><Sip>a@b?X-A=1&amp;X-B=` + strings.Repeat("b", 1013) + `</Sip></Dial>`, "Dial (Sip sip:a@b [X-A: 1] [X-B: " + strings.Repeat("b", 1013) + "])"},
		"sip headers of 1024":      {`<Dial><Sip>a@b?X-A=1&amp;X-B=` + strings.Repeat("b", 1014) + `</Sip></Dial>`, "Dial (Sip sip:a@b [X-A: 1]); !1:13253"},
		"sip children": {`<Dial><Sip username="u" password="p"><Uri priority="2" weight="5">b@b</Uri><Uri username="x" password="y" priority="1">sip:a@b?X-A=1</Uri><Uri priority="1">c@b</Uri>
			<Headers><Header name="X-B" value=" 2 "/><Header name="Via" value="x"/><Header value="x"/><X/></Headers></Sip></Dial>`,
			"Dial (Sip sip:a@b username=x password=y priority=1 sip:c@b username=u password=p priority=1 sip:b@b username=u password=p priority=2 weight=5 [X-A: 1] [X-B: 2]); !2:13252 !2:13252 !2:12200"},
		"sip text and children": {`<Dial><Sip>a@b<Uri>c@b</Uri><Uri>!!</Uri><Other/></Sip></Dial>`, "Dial (Sip sip:a@b sip:c@b); !1:13243 !1:12200"},
		"sip children bad":      {`<Dial><Sip><Uri priority="x" weight="-1" username="u">c@b</Uri></Sip><Sip><Headers/></Sip></Dial>`, "Dial (Sip sip:c@b); !1:13249 !1:12200 !1:12200 !1:13243"},
		"sip too many":          {`<Dial><Sip>` + strings.Repeat("<Uri>a@b</Uri>", 11) + `</Sip></Dial>`, "Dial (Sip" + strings.Repeat(" sip:a@b", 10) + "); !1:13250"},

		"refer":              {`<Refer action="/a" method="GET"><Sip> sip:ada@pbx.example;region=ie1?X-A=1 </Sip></Refer>`, "Refer action=/a method=GET uri=sip:ada@pbx.example [X-A: 1]"},
		"refer by its alias": {`<Refer><ReferSip>ada@pbx.example</ReferSip></Refer>`, "Refer uri=sip:ada@pbx.example"},
		"refer to nobody":    {`<Refer/><Refer><Sip/></Refer><Refer>a@b</Refer><Refer><Number>+14155550100</Number></Refer>`, "!1:12200 !1:13243 !1:12200 !1:12200 !1:12200 !1:12200"},
		"refer to two":       {`<Refer method="PUT" x="1"><Sip username="u">a@b</Sip><Sip>c@d</Sip></Refer>`, "Refer uri=sip:a@b; !1:12200 !1:12200 !1:12200 !1:12200"},
	} {
		t.Run(name, func(t *testing.T) { check(t, "<Response>"+tt.body+"</Response>", tt.want) })
	}
}

func TestDialWording(t *testing.T) {
	d, err := Parse([]byte("<Response><Dial timeout='x'>\n\n  bob\n<Phone/><Sip>a b</Sip><Sip>a@b?Via=1</Sip></Dial></Response>"))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []Warning{
		{13212, "The value 'x' of attribute 'timeout' on element 'Dial' is not valid.", 1},
		{13223, "Dial: 'bob' is not a phone number. Write it as E.164, such as +14155550100.", 3},
		{13215, "Invalid content was found starting with element 'Phone'. One of '{Number, Client, Sip, Conference, Queue, Application, Sim, WhatsApp}' is expected.", 4},
		{13243, "'a b' is not a SIP URI that can be called.", 4},
		{13252, "The name 'Via' of a SIP header is not valid. One of '{X-…, User-to-User, Remote-Party-ID, P-Preferred-Identity, P-Called-Party-ID}' is expected.", 4},
	} {
		if i >= len(d.Warnings) || d.Warnings[i] != want {
			t.Errorf("warning %d: got %+v, want %+v", i, d.Warnings, want)
		}
	}
	if n := d.Verbs[0].(*Dial).Nouns; len(n) != 1 || n[0].Line() != 4 {
		t.Errorf("nouns: %+v", n)
	}
}

func TestScreening(t *testing.T) {
	for _, tt := range []struct{ body, want string }{
		{`<Say>x</Say><Play>/a</Play><Pause/><Gather><Say>Press 1</Say></Gather><Redirect>/b</Redirect><Hangup/>`,
			`Say "x"; Play url=/a; Pause; Gather (Say "Press 1"); Redirect url=/b; Hangup`},
		{`<Gather input="speech"/>`, `Gather unsupported feature=input="speech"`},
		{"<X/>\n<Record/>\n<Y/><Reject/><Say>x</Say><Refer><Sip>a@b</Sip></Refer>", `Say "x"; !1:12200 !2:12200 !3:12200 !3:12200 !3:12200`},
		{`<Say>x</Say><Hangup/><Dial>+14155550100</Dial>`, "13201"},
		{`<Dial><Queue>q</Queue></Dial>`, "13201"},
	} {
		d, err := Parse([]byte("<Response>" + tt.body + "</Response>"))
		if err != nil {
			t.Fatal(err)
		}
		before := show(d)
		got := ""
		if s, err := d.Screening(); err != nil {
			got = fmt.Sprint(code(err))
		} else {
			got = show(s)
		}
		if got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.body, got, tt.want)
		}
		if show(d) != before {
			t.Errorf("%s: the document itself is now %s", tt.body, show(d))
		}
	}
}

// TestRingTones: whatever a document may ask for can be played.
func TestRingTones(t *testing.T) {
	for _, country := range ringTones {
		if audio.Ringback(country) == nil {
			t.Errorf("no ringback for %s", country)
		}
	}
}

// TestPhoneNumberIsTheAPIs: what can be dialled by the API can be dialled here.
func TestPhoneNumberIsTheAPIs(t *testing.T) {
	for _, s := range []string{
		"", "+", "+1", "+14155550100", "4155550100", "14155550100", "415-555-0100", "(415) 555.0100", "+(1)415 555 0100", "24155550100",
		"+4930123456", "4930123456", "+0415", "+123456", "+1234567", "+123456789012345", "+1234567890123456", "1+4155550100", "++14155550100",
		"415 555 0100 x2", "bob", "sip:a@b", "112", "--", "0155550100", "٤155550100",
	} {
		want, _, ok := call.ParseNumber(s)
		if got, gotOK := phoneNumber(s); gotOK != ok || (ok && got != want) {
			t.Errorf("%q: got %q, %v; the API says %q, %v", s, got, gotOK, want, ok)
		}
	}
}

// checkDial asserts what the session relies on.
func checkDial(t *testing.T, d *Dial) {
	if d.Timeout < minTimeout || d.Timeout > maxTimeout || d.TimeLimit < time.Second || d.TimeLimit > maxWait ||
		len(d.Nouns) > maxNouns || d.Record == "" || !printable(d.CallerID+d.CallReason) {
		t.Fatalf("%+v", d)
	}
	for _, n := range d.Nouns {
		if n.Line() < 1 || n.Options().Method == "" || len(n.Options().StatusCallbackEvents) == 0 {
			t.Fatalf("%+v", n)
		}
		switch n := n.(type) {
		case *DialNumber:
			if !call.IsE164(n.Number) {
				t.Fatalf("%+v", n)
			}
		case *DialClient:
			if n.Identity == "" || !printable(n.Identity) {
				t.Fatalf("%+v", n)
			}
		case *DialSip:
			if len(n.Targets) == 0 || len(n.Targets) > maxURIs {
				t.Fatalf("%+v", n)
			}
			for _, target := range n.Targets {
				checkSIP(t, target.URI, n.Headers)
				if (target.Username == "") && target.Password != "" || !printable(target.Username+target.Password) {
					t.Fatalf("%+v", n)
				}
			}
		}
	}
}

func checkSIP(t *testing.T, uri string, headers map[string]string) {
	if (!strings.HasPrefix(uri, "sip:") && !strings.HasPrefix(uri, "sips:")) || len(uri) > maxSIPURI ||
		strings.ContainsFunc(uri, func(r rune) bool { return r <= ' ' || r > '~' }) || strings.ContainsAny(uri, `<>"?`) {
		t.Fatalf("URI %q", uri)
	}
	if again, _, ok := parseSIP(uri); !ok || again.URI != uri {
		t.Fatalf("URI %q reads as %q, %v", uri, again.URI, ok)
	}
	size := 0
	for name, value := range headers {
		size += len(name) + len(value)
		if !isHeaderName(name) || !printable(value) {
			t.Fatalf("header %q: %q", name, value)
		}
	}
	if size > maxSIPHeaders {
		t.Fatalf("%d characters of headers", size)
	}
}
