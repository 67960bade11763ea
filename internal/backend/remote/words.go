package remote

import (
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode"
)

// transportWords says why no answer came. It never quotes net/http, whose errors may
// contain the address of a proxy and its password.
func transportWords(err error) string {
	if e, ok := errors.AsType[*dialError](err); ok {
		return e.words
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return e.Err.Error()
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return "timed out"
	}
	if e, ok := errors.AsType[tls.RecordHeaderError](err); ok && string(e.RecordHeader[:]) == "HTTP/" {
		return "the URL says https, and the host speaks http"
	}
	return "connection closed before an answer came"
}

// redactor removes a host's secrets from its messages.
func redactor(key string, user *url.Userinfo) *strings.Replacer {
	var pairs []string
	if key != "" {
		pairs = append(pairs, key, "[key]")
	}
	if password, ok := user.Password(); ok && password != "" {
		pairs = append(pairs, basicAuth(user), "[password]", password, "[password]")
	}
	return strings.NewReplacer(pairs...)
}

// engineURL is the address of the process that a host runs a model in. It is of use to
// nobody but the host.
var engineURL = regexp.MustCompile(`https?://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?`)

// OneLine makes a host's message fit for a log line: its first line, printable, not too
// long, and without secrets.
func (c *Client) OneLine(said string) string {
	said = strings.TrimSpace(said)
	if strings.HasPrefix(said, "<") {
		return "answered with HTML"
	}
	said, _, _ = strings.Cut(said, "\n")
	said = engineURL.ReplaceAllLiteralString(said, "")
	said = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, said)
	said = c.secrets.Replace(said) // only now: a character that was removed may have stood inside a secret
	const most = 300               // bytes
	if len(said) > most {
		said = strings.ToValidUTF8(said[:most], "") + "…"
	}
	return said
}

// waitSaid is what servers write about when to try again: "in 6m0s", "in 1.5s", "in 20 seconds".
var waitSaid = regexp.MustCompile(`(?i)\b(?:try(?:ing)? again|retry(?:ing)?)(?: your request| this request)? (?:in|after) ((?:[\d.]+(?:h|ms|m|s))+|[\d.]+ ?(?:milliseconds?|seconds?|minutes?|hours?))\b`)

// waitInWords is the delay that a server asks for in its message; 0 if it names none. Several
// servers that limit a rate send no header with it.
func waitInWords(said string) time.Duration {
	found := waitSaid.FindStringSubmatch(said)
	if found == nil {
		return 0
	}
	written := strings.ToLower(strings.ReplaceAll(found[1], " ", ""))
	for _, unit := range []struct{ word, short string }{{"millisecond", "ms"}, {"second", "s"}, {"minute", "m"}, {"hour", "h"}} {
		if number, ok := strings.CutSuffix(strings.TrimSuffix(written, "s"), unit.word); ok {
			written = number + unit.short
			break
		}
	}
	wait, err := time.ParseDuration(written)
	if err != nil || wait > longestWait {
		return 0
	}
	return wait
}
