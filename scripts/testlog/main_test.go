package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLogTellsWhatFailedAndWhatWasSkipped(t *testing.T) {
	const run = `# not json
{"Action":"run","Package":"a","Test":"TestGood"}
{"Action":"output","Package":"a","Test":"TestGood","Output":"noise\n"}
{"Action":"pass","Package":"a","Test":"TestGood"}
{"Action":"output","Package":"a","Test":"TestBad","Output":"    a_test.go:3: wrong\n"}
{"Action":"fail","Package":"a","Test":"TestBad"}
{"Action":"output","Package":"a","Test":"TestNo","Output":"    a_test.go:9: no peer\n"}
{"Action":"skip","Package":"a","Test":"TestNo"}
{"Action":"output","Package":"a","Output":"FAIL\ta\t0.1s\n"}
{"Action":"fail","Package":"a"}
{"Action":"output","Package":"b","Output":"ok  \tb\t0.1s\n"}
{"Action":"pass","Package":"b"}
{"Action":"build-output","ImportPath":"c","Output":"c.go:1: no\n"}
{"Action":"output","Package":"c","Output":"FAIL\tc [build failed]\n"}
{"Action":"fail","Package":"c"}
`
	var out strings.Builder
	l := newLog(&out)
	if err := l.read(strings.NewReader(run)); err != nil {
		t.Fatal(err)
	}
	want := "# not json\n    a_test.go:3: wrong\nFAIL\ta\t0.1s\nok  \tb\t0.1s\nc.go:1: no\nFAIL\tc [build failed]\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]int{1, 2, 1}, []int{l.passed, l.failed, l.skipped}); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"SKIP a TestNo: no peer"}, l.skipLog); diff != "" {
		t.Error(diff)
	}
}

func TestLogShowsWhatDidNotEnd(t *testing.T) {
	const run = `{"Action":"output","Package":"a","Test":"TestStuck","Output":"panic: test timed out after 1s\n"}
{"Action":"output","Package":"b","Test":"TestOther","Output":"still runs\n"}
{"Action":"output","Package":"a","Output":"FAIL\ta\t1s\n"}
{"Action":"fail","Package":"a"}
`
	var out strings.Builder
	if err := newLog(&out).read(strings.NewReader(run)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("FAIL\ta\t1s\n--- DID NOT END: TestStuck\npanic: test timed out after 1s\n\n", out.String()); diff != "" {
		t.Error(diff)
	}
}
