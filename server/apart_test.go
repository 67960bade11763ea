package server_test

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/server"
)

func TestAnswerOnAStreamIsReadApartFromTheProgressBeforeIt(t *testing.T) {
	inBubble(t, server.Options{}, func(t *testing.T, r *remote) {
		s, in := r.openUnread()
		body := make(chan string)
		go func() {
			all, _ := io.ReadAll(in)
			body <- string(all)
		}()
		s.say(initialize)
		s.say(call("1", "progress", `{"reports":3}`))
		synctest.Wait()
		s.say(call("2", "progress", `{"reports":0}`))
		time.Sleep(time.Second)
		r.stop()
		all := <-body
		s.close()

		_, between, _ := strings.Cut(all, `"progress":3`)
		between, rest, _ := strings.Cut(between, `"id":1`)
		if len(between) < 64<<10 || strings.Count(between, "event:") != 1 {
			t.Errorf("between them are %d bytes, %.200q", len(between), between)
		}
		if len(all)-len(between) > 2000 || !strings.Contains(rest+all, `"id":2`) {
			t.Errorf("without them there is %q", strings.Replace(all, between, "…", 1))
		}
	})
}
