package alert

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	sendTime   = 10 * time.Second // for one request
	firstPause = time.Second
	maxPause   = 5 * time.Minute
)

// sender sends messages.
type sender struct{ client *http.Client }

func newSender(o Options) sender {
	transport := o.Transport
	if transport == nil {
		own := http.DefaultTransport.(*http.Transport).Clone()
		own.MaxIdleConns, own.IdleConnTimeout = 4, 30*time.Second
		transport = own
	}
	return sender{&http.Client{
		Transport: transport, Timeout: sendTime,
		// The URL is the operator's; where it leads to otherwise is not.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// errPermanent is for what another attempt would not cure.
type errPermanent struct{ error }

// errLater is for a target that has said when to try again.
type errLater struct {
	error
	after time.Duration
}

// retry sends what news returns, again and again with longer and longer pauses, until it has been
// delivered, is no news any more, or cannot be delivered. It returns what it has sent last; the zero
// message if it was no news in the end.
func (s sender) retry(ctx context.Context, t Target, news func() (message, bool)) (message, error) {
	pause := firstPause
	for {
		m, ok := news()
		if !ok {
			return message{}, nil
		}
		err := s.once(ctx, t, m)
		if err == nil {
			return m, nil
		}
		if _, permanent := errors.AsType[errPermanent](err); permanent {
			return m, err
		}
		wait := pause/2 + rand.N(pause)
		if later, ok := errors.AsType[errLater](err); ok {
			wait = max(wait, min(later.after, maxPause))
		}
		pause = min(2*pause, maxPause)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return m, ctx.Err()
		}
	}
}

// once sends a message. Its error names no URL.
func (s sender) once(ctx context.Context, t Target, m message) error {
	body, err := json.Marshal(payload(t.Kind, m))
	if err != nil {
		return errPermanent{err}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.URL, bytes.NewReader(body))
	if err != nil {
		return errPermanent{errors.New("the URL is not valid")}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "ollama-mcp")
	if t.Secret != "" {
		at := strconv.FormatInt(time.Now().Unix(), 10)
		req.Header.Set(headerTimestamp, at)
		req.Header.Set(headerSignature, "sha256="+sign(t.Secret, at, body))
	}
	resp, err := s.client.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // the rest is the URL
		}
		return err
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection can be used again
	return judge(resp)
}

const (
	headerTimestamp = "X-Ollama-MCP-Timestamp"
	headerSignature = "X-Ollama-MCP-Signature"
)

// sign is the HMAC-SHA256, in hex, of the time, a point and the body.
func sign(secret, at string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(at + "."))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

func judge(resp *http.Response) error {
	err := fmt.Errorf("the webhook answered %s", resp.Status)
	switch code := resp.StatusCode; {
	case code < 300:
		return nil
	case code < 400:
		return errPermanent{fmt.Errorf("%w, which leads elsewhere; give the URL that it leads to", err)}
	case code == http.StatusTooManyRequests || code == http.StatusRequestTimeout || code >= 500:
		if s, bad := strconv.ParseFloat(resp.Header.Get("Retry-After"), 64); bad == nil && s > 0 {
			return errLater{err, time.Duration(min(s, maxPause.Seconds()) * float64(time.Second))}
		}
		return err
	}
	return errPermanent{err}
}

// payload is a message in the form that a kind of webhook takes. What hosts and callers are called
// mentions nobody, and is no link.
func payload(kind string, m message) any {
	text := m.Text
	if m.Detail != "" {
		text += " " + m.Detail
	}
	if m.Server != "" {
		text = m.Server + ": " + text
	}
	switch kind {
	case "slack":
		return map[string]any{"text": strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text), "unfurl_links": false}
	case "discord":
		plain := strings.NewReplacer("\\", "\\\\", "*", "\\*", "_", "\\_", "~", "\\~", "`", "\\`", "|", "\\|", "<", "\\<", "[", "\\[")
		return map[string]any{"content": plain.Replace(text), "allowed_mentions": map[string]any{"parse": []string{}}}
	}
	return m
}
