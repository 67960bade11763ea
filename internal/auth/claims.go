package auth

import (
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/go-jose/go-jose/v4/json"
	"github.com/go-jose/go-jose/v4/jwt"
)

// leeway is how far the clocks of the issuer and of this machine may differ.
const leeway = time.Minute

// claims are the claims of a token that this package uses.
type claims struct {
	jwt.Claims
	Scope names `json:"scope"` // RFC 9068
	Scp   names `json:"scp"`   // the name that some issuers use
}

// names are separated by spaces in one string, or a list.
type names []string

func (n *names) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		*n = strings.Fields(text)
		return nil
	}
	return json.Unmarshal(data, (*[]string)(n))
}

// readClaims reads the payload of a token whose signature has been verified. It denies a token that
// is for another server, expired, or not valid yet, and names the claim that is missing or wrong,
// so that the operator of the issuer knows what to change.
func readClaims(payload []byte, issuer string, audiences []string) (*claims, error) {
	var c claims
	// Unlike encoding/json, this package matches names by case, and rejects an object that has a
	// name twice.
	if err := json.Unmarshal(payload, &c); err != nil {
		return nil, invalidToken("the token has claims that cannot be read" + unreadable(payload))
	}
	now := time.Now()
	var wrong string
	switch {
	case c.Issuer == "":
		wrong = "does not name its issuer (claim iss is missing)"
	case !sameURL(c.Issuer, issuer):
		wrong = "is of another issuer (claim iss); " + issuer + " is expected"
	case len(c.Audience) == 0:
		wrong = "does not say what it is for (claim aud is missing); " + audiences[0] + " is expected"
	case !slices.ContainsFunc(audiences, func(ours string) bool { return isFor(c.Audience, ours) }):
		wrong = "is for another audience (claim aud); " + audiences[0] + " is expected"
	case c.Expiry == nil:
		wrong = "does not say when it expires (claim exp is missing)"
	case now.Add(-leeway).After(c.Expiry.Time()):
		wrong = "has expired (claim exp)"
	case c.NotBefore != nil && now.Add(leeway).Before(c.NotBefore.Time()):
		wrong = "is not valid yet (claim nbf); compare the clocks"
	case c.IssuedAt != nil && now.Add(leeway).Before(c.IssuedAt.Time()):
		wrong = "was issued in the future (claim iat); compare the clocks"
	case c.Subject == "":
		wrong = "does not say whom it stands for (claim sub is missing)"
	case !isSubject(c.Subject):
		wrong = "has a subject (claim sub) that is too long, or that cannot be printed"
	default:
		return &c, nil
	}
	return nil, invalidToken("the token " + wrong)
}

// unreadable names the claims that have the wrong type.
func unreadable(payload []byte) string {
	var all map[string]json.RawMessage
	if json.Unmarshal(payload, &all) != nil {
		return ""
	}
	var c claims
	var bad []string
	for _, claim := range []struct {
		name string
		as   any
	}{
		{"iss", &c.Issuer},
		{"sub", &c.Subject},
		{"aud", &c.Audience},
		{"exp", &c.Expiry},
		{"nbf", &c.NotBefore},
		{"iat", &c.IssuedAt},
		{"jti", &c.ID},
		{"scope", &c.Scope},
		{"scp", &c.Scp},
	} {
		if value, ok := all[claim.name]; ok && json.Unmarshal(value, claim.as) != nil {
			bad = append(bad, claim.name)
		}
	}
	if bad == nil {
		return ""
	}
	return ": " + strings.Join(bad, ", ") + " is not of the type that it must be"
}

// isFor reports whether one of a token's audiences is one of ours.
func isFor(audiences []string, ours string) bool {
	return slices.ContainsFunc(audiences, func(audience string) bool { return sameURL(audience, ours) })
}

// sameURL compares two strings that may be URLs. A slash at the end is ignored, since many programs
// add or remove it.
func sameURL(a, b string) bool {
	return strings.TrimSuffix(a, "/") == strings.TrimSuffix(b, "/")
}

// isSubject reports whether s can name a caller: OpenID Connect Core, section 2, allows at most 255
// characters, and characters that are not printable would mislead readers of logs.
func isSubject(s string) bool {
	return s != "" && len(s) <= 255 && !strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) })
}
