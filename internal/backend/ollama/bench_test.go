package ollama_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ollama/ollama/api"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/ollama"
)

// BenchmarkGenerate compares a call through Host with what one would write
// without it, call by call in one run, over real sockets. The server allocates
// nothing, so that all allocations counted are the clients'.
func BenchmarkGenerate(b *testing.B) {
	for _, pieces := range []int{1, 64} {
		b.Run(fmt.Sprintf("%d pieces", pieces), func(b *testing.B) {
			ours, bare := callers(b, pieces)
			var timesOurs, timesBare []time.Duration
			for b.Loop() {
				timesOurs = append(timesOurs, timed(ours))
				timesBare = append(timesBare, timed(bare))
			}
			medianOurs, medianBare := median(timesOurs), median(timesBare)
			b.ReportMetric(0, "ns/op") // hides the time of both together
			b.ReportMetric(float64(medianOurs.Microseconds()), "µs/ours")
			b.ReportMetric(float64(medianBare.Microseconds()), "µs/bare")
			b.ReportMetric(float64(medianOurs)/float64(medianBare), "times-as-long")
			b.ReportMetric(testing.AllocsPerRun(100, ours), "allocs/ours")
			b.ReportMetric(testing.AllocsPerRun(100, bare), "allocs/bare")
		})
	}
}

func timed(call func()) time.Duration {
	began := time.Now()
	call()
	return time.Since(began)
}

func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

// callers are a call through Host and a bare one, to the same server.
func callers(t testing.TB, pieces int) (ours, bare func()) {
	address := canned(t, pieces)
	host, err := ollama.New(ollama.Options{URL: address})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(host.Close)
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	req := backend.GenerateRequest{Model: "tiny", Prompt: "Why is the sky blue?"}
	ours = func() {
		got, err := host.Generate(t.Context(), &req, nil)
		if err != nil || got.Tokens != pieces {
			t.Fatalf("got %+v, %v", got, err)
		}
	}
	bare = func() {
		if n, err := bareGenerate(client, "http://"+address, req); err != nil || n != pieces {
			t.Fatalf("got %d, %v", n, err)
		}
	}
	return ours, bare
}

func bareGenerate(client *http.Client, url string, req backend.GenerateRequest) (tokens int, err error) {
	body, err := json.Marshal(req)
	if err != nil {
		return 0, err
	}
	resp, err := client.Post(url+"/api/generate", "application/json", bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var text strings.Builder
	for dec := json.NewDecoder(resp.Body); ; {
		var chunk api.GenerateResponse
		switch err := dec.Decode(&chunk); {
		case errors.Is(err, io.EOF):
			return tokens, nil
		case err != nil:
			return tokens, err
		}
		text.WriteString(chunk.Response)
		tokens += chunk.EvalCount
	}
}

// canned serves the same answer to every request and returns its host:port.
func canned(t testing.TB, pieces int) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	answer := cannedAnswer(pieces)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for in := bufio.NewReader(conn); skipRequest(in) == nil; {
					conn.Write(answer)
				}
			}()
		}
	}()
	return l.Addr().String()
}

func cannedAnswer(pieces int) []byte {
	const format = "{\"model\":\"tiny\",\"created_at\":\"2026-01-02T03:04:05.678901234Z\",%s}\n"
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n")
	line := func(rest string) {
		s := fmt.Sprintf(format, rest)
		fmt.Fprintf(&b, "%x\r\n%s\r\n", len(s), s)
	}
	for range pieces - 1 {
		line(`"response":" word","done":false`)
	}
	line(fmt.Sprintf(`"response":" word","done":true,"done_reason":"stop","total_duration":5,"eval_count":%d`, pieces))
	b.WriteString("0\r\n\r\n")
	return b.Bytes()
}

// skipRequest reads one request without allocating.
func skipRequest(in *bufio.Reader) error {
	length := 0
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			_, err := in.Discard(length)
			return err
		}
		if v, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			length, _ = strconv.Atoi(string(v))
		}
	}
}
