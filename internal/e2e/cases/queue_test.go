package cases_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
)

// TestFullQueueOfOneModelIsNoBarToTheSlotsOfAnother has a host that answers nothing until all
// calls have been made, and one of another model that idles beside it.
func TestFullQueueOfOneModelIsNoBarToTheSlotsOfAnother(t *testing.T) {
	t.Parallel()
	const calls, callers, queue = 200, 16, 8
	release := make(chan struct{})
	slow := &backend{tags: `{"models":[{"name":"m:latest","digest":"d1"}]}`, handle: func(w http.ResponseWriter, r *http.Request, _ string) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
		text("slow").write(w, "application/x-ndjson")
	}}
	quick := &backend{tags: `{"models":[{"name":"small:latest","digest":"d2"}]}`, replies: []reply{text("quick")}}
	s := row{
		backends: backends{"a": slow, "b": quick}, config: "models:\n  pro: {try: [m, small]}\n",
		flags: []string{fmt.Sprintf("--queue=%d", queue), "--slots=1", "--cache=off"},
	}.start(t)
	sent := 0
	send := func() {
		sent++
		s.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"generate","arguments":{"model":"pro","prompt":"question %d"}}}`, sent+10, sent))
	}
	for range callers {
		send()
	}
	for done := 1; done <= calls; done++ {
		line := s.until(`"result"`)
		var got struct{ Result struct{ IsError bool } }
		if err := json.Unmarshal([]byte(line), &got); err != nil || got.Result.IsError {
			t.Errorf("call %d came back with %.300s, %v", done, line, err)
		}
		if sent < calls {
			send()
		}
		if done == calls-queue-1 { // the others wait for the slow host, or work on it
			close(release)
		}
	}
	if n := len(quick.requests()); n < calls-queue-callers {
		t.Errorf("the quick host was asked %d times", n)
	}
}
