package tracing

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"ollama-mcp/internal/retry"
)

// receiver is where spans are sent: OTLP over HTTP, in Protocol Buffers. It implements
// otlptrace.Client. One goroutine uses it at a time.
type receiver struct {
	url     string
	shown   string // url, without what may be secret
	headers http.Header
	gzip    bool
	timeout time.Duration
	client  *http.Client
	log     *slog.Logger

	life   context.Context // of requests
	giveUp context.CancelFunc

	random *rand.Rand
	down   bool // the last batch was lost
	lost   int  // spans, since the receiver is down
}

// isWanted reports whether the variables ask for traces, and what is wrong if they ask for
// some that there are not.
func isWanted(env func(string) string) (wanted bool, problem string) {
	if strings.EqualFold(strings.TrimSpace(env("OTEL_SDK_DISABLED")), "true") {
		return false, ""
	}
	switch exporter := strings.TrimSpace(env("OTEL_TRACES_EXPORTER")); exporter {
	case "":
		wanted = setting(env, "ENDPOINT") != ""
	case "otlp":
		wanted = true
	case "none":
	default:
		problem = fmt.Sprintf("OTEL_TRACES_EXPORTER is %q, and must be otlp or none", exporter)
	}
	if protocol := setting(env, "PROTOCOL"); wanted && protocol != "" && protocol != "http/protobuf" {
		return false, fmt.Sprintf("OTEL_EXPORTER_OTLP_PROTOCOL is %q, and must be http/protobuf", protocol)
	}
	return wanted, problem
}

// setting is the value of a variable of the exporter: that for traces, or else that for all.
func setting(env func(string) string, name string) string {
	return strings.TrimSpace(cmp.Or(env("OTEL_EXPORTER_OTLP_TRACES_"+name), env("OTEL_EXPORTER_OTLP_"+name)))
}

func newReceiver(env func(string) string, log *slog.Logger) (*receiver, error) {
	to, err := endpoint(env)
	if err != nil {
		return nil, err
	}
	shown := url.URL{Scheme: to.Scheme, Host: to.Host, Path: to.Path}
	r := &receiver{
		url: to.String(), shown: shown.String(), log: log, timeout: 10 * time.Second,
		random: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
	}
	if r.headers, err = headers(setting(env, "HEADERS")); err != nil {
		return nil, err
	}
	switch compression := setting(env, "COMPRESSION"); compression {
	case "", "none":
	case "gzip":
		r.gzip = true
	default:
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_COMPRESSION is %q, and must be gzip or none", compression)
	}
	if given := setting(env, "TIMEOUT"); given != "" {
		ms, err := strconv.Atoi(given)
		if err != nil || ms <= 0 {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_TIMEOUT is %q, and must be a number of milliseconds", given)
		}
		r.timeout = time.Duration(ms) * time.Millisecond
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if transport.TLSClientConfig, err = tlsConfig(env); err != nil {
		return nil, err
	}
	r.client = &http.Client{
		Transport: transport,
		// A redirect would take the headers, which may hold a key, to another place.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	r.life, r.giveUp = context.WithCancel(context.Background())
	return r, nil
}

// endpoint is the address that spans are posted to.
func endpoint(env func(string) string) (*url.URL, error) {
	name, given := "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", strings.TrimSpace(env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))
	isBase := given == ""
	if isBase {
		name, given = "OTEL_EXPORTER_OTLP_ENDPOINT", cmp.Or(strings.TrimSpace(env("OTEL_EXPORTER_OTLP_ENDPOINT")), "http://localhost:4318")
	}
	to, err := url.Parse(given)
	if err != nil || to.Scheme != "http" && to.Scheme != "https" || to.Host == "" {
		return nil, fmt.Errorf("%s must be a URL that begins with http:// or https://", name) // it may hold a password
	}
	if isBase {
		to = to.JoinPath("v1", "traces")
	} else if to.Path == "" {
		to.Path = "/"
	}
	return to, nil
}

// headers reads a list such as "api-key=secret,team=a%20b". Its errors quote nothing.
func headers(list string) (http.Header, error) {
	all := make(http.Header)
	for item := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(item) == "" {
			continue
		}
		key, value, ok := strings.Cut(item, "=")
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if key = strings.TrimSpace(key); !ok || key == "" || err != nil || strings.ContainsAny(key+value, "\r\n\x00") {
			return nil, errors.New("OTEL_EXPORTER_OTLP_HEADERS must be a list such as key=value,key=value")
		}
		all.Add(key, value)
	}
	return all, nil
}

// tlsConfig is nil for the defaults.
func tlsConfig(env func(string) string) (*tls.Config, error) {
	ca, cert, key := setting(env, "CERTIFICATE"), setting(env, "CLIENT_CERTIFICATE"), setting(env, "CLIENT_KEY")
	if ca == "" && cert == "" {
		return nil, nil
	}
	c := new(tls.Config)
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_CERTIFICATE: %w", err)
		}
		if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_CERTIFICATE: %s holds no certificate", ca)
		}
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// Start implements otlptrace.Client.
func (*receiver) Start(context.Context) error { return nil }

// Stop implements otlptrace.Client.
func (r *receiver) Stop(context.Context) error {
	r.client.CloseIdleConnections()
	return nil
}

// UploadTraces implements otlptrace.Client. It returns no error: what is lost is told in the
// log, once until spans are sent again.
func (r *receiver) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	n := 0
	for _, of := range spans {
		for _, scope := range of.ScopeSpans {
			n += len(scope.Spans)
		}
	}
	err := r.send(ctx, spans)
	switch {
	case err != nil && !r.down:
		r.log.Warn("traces cannot be sent; calls go on, and their spans are lost until they can", "to", r.shown, "error", err)
	case err == nil && r.down:
		r.log.Info("traces are sent again", "to", r.shown, "lost", r.lost)
		r.lost = 0
	}
	if r.down = err != nil; r.down {
		r.lost += n
	}
	return nil
}

// maxAttempts is how often a batch is sent at most.
const maxAttempts = 5

// send posts spans, and retries if the receiver asks for that.
func (r *receiver) send(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	// The message that the receiver expects, ExportTraceServiceRequest, has the same one field.
	// Its package would bring gRPC.
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: spans})
	if err != nil {
		return err
	}
	if r.gzip {
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		_, err := w.Write(body)
		if err = errors.Join(err, w.Close()); err != nil {
			return err
		}
		body = packed.Bytes()
	}
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	defer context.AfterFunc(r.life, cancel)()
	for attempt := 1; ; attempt++ {
		again, after, err := r.post(ctx, body)
		if err == nil || !again || attempt == maxAttempts || r.down || ctx.Err() != nil {
			return err
		}
		pause := time.NewTimer(retry.Backoff(attempt, after, r.random))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return err
		}
	}
}

// post sends one request. again says that it may be sent once more, after what is given.
func (r *receiver) post(ctx context.Context, body []byte) (again bool, after time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(body))
	if err != nil {
		return false, 0, errors.New("the request cannot be made")
	}
	req.Header = r.headers.Clone()
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("User-Agent", "ollama-mcp")
	if r.gzip {
		req.Header.Set("Content-Encoding", "gzip")
	}
	resp, err := r.client.Do(req)
	if err != nil {
		if inner, ok := errors.AsType[*url.Error](err); ok { // which quotes the URL
			err = inner.Err
		}
		return true, 0, err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection can be used again
	switch resp.StatusCode {
	case http.StatusOK, http.StatusAccepted, http.StatusNoContent:
		return false, 0, nil
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		again = true
	}
	if seconds, bad := strconv.Atoi(resp.Header.Get("Retry-After")); bad == nil {
		after = time.Duration(seconds) * time.Second
	}
	return again, after, fmt.Errorf("the receiver answered %s", resp.Status)
}
