package twiml

import (
	"strconv"
	"testing"
)

func TestRecord(t *testing.T) {
	for name, tt := range map[string]struct{ body, want string }{
		"by itself": {`<Record/>`, "Record"},
		"everything": {`<Record action="/a" method="get" timeout="3" finishOnKey="#1" maxLength="30" playBeep="false" trim="do-not-trim"
			transcribe="true" transcribeCallback="/t" recordingStatusCallback="/rec" recordingStatusCallbackMethod="GET"
			recordingStatusCallbackEvent="in-progress absent" recordingConfigurationId="c"/>`,
			"Record action=/a method=GET timeout=3s finishOnKey=#1 maxLength=30s playBeep=false transcribe=true transcribeCallback=/t trim=do-not-trim " +
				"recordingStatusCallback=/rec recordingStatusCallbackMethod=GET recordingStatusCallbackEvents=in-progress+absent recordingConfiguration=c"},
		"no timeout, no key": {`<Record timeout="0" finishOnKey=""/>`, "Record timeout=0s finishOnKey="},
		"transcribed":        {`<Record transcribe="true"/>`, "Record maxLength=2m0s transcribe=true"},
		"too long for that":  {`<Record transcribe="true" maxLength="300"/>`, "Record maxLength=5m0s transcribe=true; !1:13617"},
		"bad values": {`<Record method="x" timeout="-1" finishOnKey="a" maxLength="0" playBeep="x" trim="x" transcribe="x" transcribeCallback="ftp://x"
			recordingStatusCallback="" recordingStatusCallbackMethod="x" recordingStatusCallbackEvent="x" moo="1"><Say>x</Say></Record>`,
			"Record trim=do-not-trim; !1:12200 !1:13611 !1:13699 !1:13619 !1:13620 !1:13621 !1:13612 !1:13613 !1:13616 !1:13614 !1:13615 !1:13610 !2:13618"},
		"start":      {`<Start><Recording/></Start>`, "Start"},
		"start more": {`<Start><Recording name="n" channels="mono" track="inbound" trim="do-not-trim" recordingStatusCallback="/rec"/></Start>`, "Start name=n dual=false track=inbound trim=do-not-trim recordingStatusCallback=/rec"},
		"start bad":  {`<Start><Recording channels="x" track="x" trim="x"/></Start>`, "Start; !1:13699 !1:12200 !1:13622"},
		"stop":       {`<Stop><Recording name="n"/></Stop>`, "Stop name=n"},
		"nothing":    {`<Start/>`, "!1:12200"},
		"wrong noun": {`<Start><Say>x</Say></Start>`, "14300"},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := Parse([]byte("<Response>" + tt.body + "</Response>"))
			got := ""
			if err != nil {
				got = strconv.Itoa(code(err))
			} else {
				got = show(d)
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}
