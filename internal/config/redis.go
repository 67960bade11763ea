package config

import (
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// isNoRedis reports whether a text is no URL of a Redis server as --redis takes it. A password
// does not belong there: other users of the machine can read the command line.
func isNoRedis(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Fragment != "" || u.Opaque != "" {
		return true
	}
	if _, secret := u.User.Password(); secret {
		return true
	}
	query := u.Query()
	for name := range query {
		if name != "addr" {
			return true
		}
	}
	switch u.Scheme {
	case "unix":
		return u.Host != "" || u.Path == "" || u.User != nil || len(query) > 0
	case "redis", "rediss", "valkey", "valkeys":
		database := strings.TrimPrefix(u.Path, "/")
		if _, err := strconv.ParseUint(database, 10, 16); database != "" && err != nil {
			return true
		}
		return u.Hostname() == "" || isNoPort(u.Port()) || len(query["addr"]) > 0 && database != "" && database != "0"
	}
	return true
}

// isNoPort reports whether a text is no port; "" stands for the usual one.
func isNoPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return text != "" && (err != nil || n == 0)
}

var prefixForm = regexp.MustCompile(`^[A-Za-z0-9:_.-]{1,100}$`)

// isNoPrefix reports whether a text cannot begin our keys. Braces would say on which node of a
// cluster they are.
func isNoPrefix(text string) bool { return !prefixForm.MatchString(text) }
