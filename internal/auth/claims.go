package auth

import (
	"errors"
	"strings"
	"time"
	"unicode"

	"github.com/go-jose/go-jose/v4/json"
	"github.com/go-jose/go-jose/v4/jwt"
)

// leeway is how far the clocks of the issuer and of this machine may differ.
const leeway = 30 * time.Second

// claims are what a token says.
type claims struct {
	jwt.Claims
	Scope names `json:"scope"` // RFC 9068
	Scp   names `json:"scp"`   // what some issuers call it
}

// names are a string with spaces between them, or a list.
type names []string

func (n *names) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		*n = strings.Fields(text)
		return nil
	}
	return json.Unmarshal(data, (*[]string)(n))
}

// readClaims reads the payload of a token, whose signature has been verified, and
// denies one that is not for us, or not now.
func readClaims(payload []byte, issuer, audience string) (*claims, error) {
	var c claims
	// This json, unlike the standard one, takes names in their own case only, and
	// refuses an object that has one twice.
	if err := json.Unmarshal(payload, &c); err != nil {
		return nil, invalidToken("the token has claims that cannot be read")
	}
	err := c.ValidateWithLeeway(jwt.Expected{Issuer: issuer, AnyAudience: jwt.Audience{audience}}, leeway)
	switch {
	case errors.Is(err, jwt.ErrInvalidIssuer):
		return nil, invalidToken("the token is of another issuer")
	case errors.Is(err, jwt.ErrInvalidAudience):
		return nil, invalidToken("the token is for another audience")
	case errors.Is(err, jwt.ErrExpired):
		return nil, invalidToken("the token has expired")
	case err != nil:
		return nil, invalidToken("the token is not valid yet")
	case c.Expiry == nil:
		return nil, invalidToken("the token does not say when it expires")
	case !isSubject(c.Subject):
		return nil, invalidToken("the token does not say whom it stands for")
	}
	return &c, nil
}

// isSubject tells whether s can name a caller: OpenID Connect Core, section 2, has at
// most 255 characters, and what is not printed would mislead readers of logs.
func isSubject(s string) bool {
	return s != "" && len(s) <= 255 && !strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) })
}
