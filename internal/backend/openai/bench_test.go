package openai_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/openai"
)

// BenchmarkChat compares a call through Host with what one would write without
// it, call by call in one run, over real sockets.
func BenchmarkChat(b *testing.B) {
	for _, pieces := range []int{1, 64} {
		b.Run(fmt.Sprintf("%d pieces", pieces), func(b *testing.B) {
			url := canned(b, pieces)
			host := open(b, openai.Options{URL: url})
			client := &http.Client{Transport: &http.Transport{}}
			b.Cleanup(client.CloseIdleConnections)
			var ours, bare []time.Duration
			for b.Loop() {
				began := time.Now()
				if got, err := ask(b, host); err != nil || got.Tokens != pieces {
					b.Fatalf("got %+v, %v", got, err)
				}
				ours = append(ours, time.Since(began))
				began = time.Now()
				if n, err := bareChat(client, url); err != nil || n != pieces {
					b.Fatalf("got %d, %v", n, err)
				}
				bare = append(bare, time.Since(began))
			}
			slices.Sort(ours)
			slices.Sort(bare)
			medianOurs, medianBare := ours[len(ours)/2], bare[len(bare)/2]
			b.ReportMetric(0, "ns/op") // hides the time of both together
			b.ReportMetric(float64(medianOurs.Microseconds()), "µs/ours")
			b.ReportMetric(float64(medianBare.Microseconds()), "µs/bare")
			b.ReportMetric(float64(medianOurs)/float64(medianBare), "times-as-long")
		})
	}
}

// bareChat is the least that asks and understands.
func bareChat(client *http.Client, url string) (tokens int, err error) {
	body, err := json.Marshal(map[string]any{
		"model": "tiny", "stream": true,
		"messages": []backend.Message{{Role: "user", Content: "hello"}},
	})
	if err != nil {
		return 0, err
	}
	resp, err := client.Post(url+"/chat/completions", "application/json", bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var text strings.Builder
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
		if !ok {
			continue
		}
		if string(data) == "[DONE]" {
			_, err := io.Copy(io.Discard, resp.Body)
			return tokens, err
		}
		var event struct {
			Choices []struct{ Delta struct{ Content string } }
			Usage   struct {
				CompletionTokens int `json:"completion_tokens"`
			}
		}
		if err := json.Unmarshal(data, &event); err != nil {
			return 0, err
		}
		for _, c := range event.Choices {
			text.WriteString(c.Delta.Content)
		}
		tokens += event.Usage.CompletionTokens
	}
	return 0, io.ErrUnexpectedEOF
}

// canned serves the same answer to every request and returns its base URL.
func canned(t testing.TB, pieces int) string {
	const format = `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"tiny","choices":[%s],"usage":%s}` + "\n\n"
	answer := strings.Repeat(fmt.Sprintf(format, `{"index":0,"delta":{"content":" word"},"finish_reason":null}`, "null"), pieces) +
		fmt.Sprintf(format, `{"index":0,"delta":{},"finish_reason":"stop"}`, "null") +
		fmt.Sprintf(format, "", fmt.Sprintf(`{"prompt_tokens":1,"completion_tokens":%d}`, pieces)) + "data: [DONE]\n\n"
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		for event := range strings.SplitAfterSeq(answer, "\n\n") {
			io.WriteString(w, event)
			http.NewResponseController(w).Flush()
		}
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}
