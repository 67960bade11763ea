//go:build unix

package server_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"ollama-mcp/internal/jobs"
	"ollama-mcp/server"
)

// polledEnv has this program be the server of BenchmarkPollingTasks, so that its processor time is
// told from that of the client. Its value is the transport.
const polledEnv = "OLLAMA_MCP_TEST_POLLED"

func TestMain(m *testing.M) {
	if over := os.Getenv(polledEnv); over != "" {
		servePolled(over)
		return
	}
	os.Exit(m.Run())
}

// polledTasks is how many tasks the server has.
const polledTasks = 1000

// servePolled serves until its standard input ends. It first writes a line of JSON with the handles
// of its tasks and its address, and the processor time that it has used to standard error for each
// byte that it reads from file 3.
func servePolled(over string) {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	asks := os.NewFile(3, "asks")
	go func() {
		for b := make([]byte, 1); ; {
			if _, err := asks.Read(b); err != nil {
				return
			}
			fmt.Fprintln(os.Stderr, int64(processorTime()))
		}
	}()
	registry := jobs.New(jobs.Options{PerOwner: polledTasks, Total: polledTasks})
	owner := jobs.Owner{Account: "stdio", Private: true}
	if over != "stdio" {
		owner.Account = "client local t"
	}
	var about polledServer
	for range polledTasks {
		task, err := keepTaskOf(registry, owner, "128 tokens, 41/s")
		must(err)
		about.Tasks = append(about.Tasks, task)
	}
	o := taskServer(registry)
	o.Name, o.Version = "test", "1"
	s, err := server.New(o)
	must(err)
	if over == "stdio" {
		must(json.NewEncoder(os.Stdout).Encode(about))
		must(s.ServeStdio(context.Background(), os.Stdin, os.Stdout))
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	about.Address = l.Addr().String()
	must(json.NewEncoder(os.Stdout).Encode(about))
	if over == "http" {
		h, err := server.NewHTTP(s, server.HTTPOptions{})
		must(err)
		go func() { must(h.Serve(context.Background(), l)) }()
	} else { // what net/http and the system take alone
		answer := bytes.Repeat([]byte("x"), 500)
		srv := http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
			_, _ = w.Write(answer)
		})}
		go func() { must(srv.Serve(l)) }()
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// polledServer is what a server says of itself, and how to reach it.
type polledServer struct {
	Tasks   []string
	Address string

	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	asks   *os.File
	usages *bufio.Reader
}

func startPolled(b *testing.B, over string) *polledServer {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), polledEnv+"="+over)
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	usages, err := cmd.StderrPipe()
	if err != nil {
		b.Fatal(err)
	}
	asked, asks, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	cmd.ExtraFiles = []*os.File{asked}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	s := &polledServer{cmd: cmd, in: in, out: bufio.NewReaderSize(out, 1<<20), asks: asks, usages: bufio.NewReader(usages)}
	b.Cleanup(func() {
		asks.Close()
		asked.Close()
		in.Close()
		_ = cmd.Wait()
	})
	line, err := s.out.ReadBytes('\n')
	if err != nil {
		b.Fatal(err)
	}
	if err := json.Unmarshal(line, s); err != nil {
		b.Fatalf("%s: %v", line, err)
	}
	return s
}

// used is the processor time that the server has used.
func (s *polledServer) used(b *testing.B) time.Duration {
	b.Helper()
	if _, err := s.asks.Write([]byte("?")); err != nil {
		b.Fatal(err)
	}
	line, err := s.usages.ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return time.Duration(n)
}

// BenchmarkPollingTasks asks a server in a process of its own for its 1,000 tasks, and prints the
// processor time that each answer takes there: and so how much of a core it takes to ask for all of
// them once a second, and as seldom as the server asks for with tasks that take long. "all at once"
// sends 1,000 requests before it reads, "in turn" one after the other, and "evenly" one each
// millisecond, for which the server has to be woken each time.
func BenchmarkPollingTasks(b *testing.B) {
	b.Run("stdio/all at once", func(b *testing.B) {
		s := startPolled(b, "stdio")
		all := strings.Join(s.lines(), "")
		s.measure(b, polledTasks, func(int) {
			go func() { _, _ = io.WriteString(s.in, all) }()
			for range polledTasks {
				s.next(b)
			}
		})
	})
	b.Run("stdio/in turn", func(b *testing.B) {
		s := startPolled(b, "stdio")
		s.measure(b, 1, s.ask(b, s.lines()))
	})
	b.Run("stdio/evenly", func(b *testing.B) {
		s := startPolled(b, "stdio")
		s.measure(b, 1, evenly(s.ask(b, s.lines())))
	})
	for _, over := range []string{"http", "net-http alone"} {
		b.Run(over+"/in turn", func(b *testing.B) {
			s := startPolled(b, over)
			s.measure(b, 1, s.post(b))
		})
		b.Run(over+"/evenly", func(b *testing.B) {
			s := startPolled(b, over)
			s.measure(b, 1, evenly(s.post(b)))
		})
	}
}

func (s *polledServer) lines() (lines []string) {
	for _, task := range s.Tasks {
		lines = append(lines, declaring(about("tasks/get", task, ""))+"\n")
	}
	return lines
}

func (s *polledServer) next(b *testing.B) {
	answer, err := s.out.ReadSlice('\n')
	if err != nil || !bytes.Contains(answer, []byte(`"working"`)) {
		b.Fatalf("got %s, %v", answer, err)
	}
}

func (s *polledServer) ask(b *testing.B, lines []string) func(int) {
	return func(i int) {
		if _, err := io.WriteString(s.in, lines[i%len(lines)]); err != nil {
			b.Fatal(err)
		}
		s.next(b)
	}
}

// post asks over a connection of HTTP.
func (s *polledServer) post(b *testing.B) func(int) {
	conn, err := net.Dial("tcp", s.Address)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	var requests [][]byte
	for i, line := range s.lines() {
		var text bytes.Buffer
		req, err := http.NewRequest("POST", "http://"+s.Address+"/mcp", strings.NewReader(line))
		if err != nil {
			b.Fatal(err)
		}
		req.Header = header(modernHeader("tasks/get", s.Tasks[i])...)
		if err := req.Write(&text); err != nil {
			b.Fatal(err)
		}
		requests = append(requests, text.Bytes())
	}
	in := bufio.NewReader(conn)
	return func(i int) {
		if _, err := conn.Write(requests[i%len(requests)]); err != nil {
			b.Fatal(err)
		}
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			b.Fatal(err)
		}
		defer resp.Body.Close()
		if answer, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK || len(answer) < 300 {
			b.Fatalf("got %d %s, %v", resp.StatusCode, answer, err)
		}
	}
}

// evenly waits a millisecond before each request.
func evenly(ask func(int)) func(int) {
	tick := time.NewTicker(time.Millisecond)
	return func(i int) {
		<-tick.C
		ask(i)
	}
}

// measure measures what makes so many polls each time.
func (s *polledServer) measure(b *testing.B, polls int, f func(int)) {
	for i := range polledTasks {
		f(i) // once with each, to warm up
		if polls > 1 {
			break
		}
	}
	before := s.used(b)
	b.ResetTimer()
	for i := range b.N {
		f(i)
	}
	b.StopTimer()
	each := (s.used(b) - before) / time.Duration(b.N*polls)
	ofCore := float64(polledTasks*each) / float64(time.Second) * 100
	b.ReportMetric(float64(each.Nanoseconds())/1000, "µs-cpu/poll")
	b.ReportMetric(ofCore, "%-of-a-core-each-second")
	b.ReportMetric(ofCore/10, "%-of-a-core-as-asked")
}
