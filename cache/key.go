package cache

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"ollama-mcp/internal/jsonrpc"
)

// keyForm is the version of the form that keys are made from. Another form needs
// another number, so that keys of the two never meet in a store that outlives us.
const keyForm = 1

// Scope says whose answer it is, and whose answer to whom. An answer never serves
// outside its scope.
type Scope struct {
	Tenant string // who may share it; "" for all who have not authenticated
	Tool   string
	Model  string // by its canonical name: "x" and "x:latest" are different names here
	Digest string // of the model's files, since a name may be pulled anew
}

// Key names an answer. Keys are equal, by ==, if scope and request are.
type Key struct {
	sum   [sha256.Size]byte
	scope Scope
}

// KeyOf is the key for the answer to a request: any value that encoding/json can
// marshal, holding all that the answer depends on and nothing else. It errs for a
// value that cannot be marshalled.
//
// Requests are equal if their JSON is, whatever its white space, its way to
// escape characters and its way to write a number. Maps of Go have no order; the
// members of embedded JSON do, for it matters there: a model fills in the
// properties of a schema in the order in which they stand.
func KeyOf(s Scope, request any) (Key, error) {
	raw, err := json.Marshal(request)
	if err != nil {
		return Key{}, fmt.Errorf("cache key: %w", err)
	}
	var room [1 << 10]byte // for most requests
	form := strconv.AppendInt(append(room[:0], '['), keyForm, 10)
	for _, part := range []string{s.Tenant, s.Tool, s.Model, s.Digest} {
		form = jsonrpc.AppendString(append(form, ','), part)
	}
	form = append(appendCanonical(append(form, ','), raw), ']')
	return Key{sum: sha256.Sum256(form), scope: s}, nil
}

// String is the key in hexadecimal, for logs. It tells nothing of the request.
func (k Key) String() string { return hex.EncodeToString(k.sum[:]) }

// ParseKey undoes String, for a key whose scope is known otherwise.
func ParseKey(s Scope, text string) (Key, error) {
	sum, err := hex.DecodeString(text)
	if err != nil || len(sum) != sha256.Size {
		return Key{}, fmt.Errorf("cache key: %.80q is none", text)
	}
	return Key{sum: [sha256.Size]byte(sum), scope: s}, nil
}

// Scope is the scope of the answer.
func (k Key) Scope() Scope { return k.scope }

// hash is the key for ristretto. Keys may share it.
func (k Key) hash() uint64 { return binary.LittleEndian.Uint64(k.sum[:]) }

// appendCanonical appends JSON that came from json.Marshal, and so has no white space,
// in the one form that equal values share.
func appendCanonical(out, raw []byte) []byte {
	for len(raw) > 0 {
		n := 1
		switch c := raw[0]; {
		case c == '"':
			n = jsonrpc.StringEnd(raw, 0)
			out = appendString(out, raw[:n])
		case c == '-' || '0' <= c && c <= '9':
			n = len(raw) - len(bytes.TrimLeft(raw, "0123456789+-.eE"))
			out = appendNumber(out, string(raw[:n]))
		default:
			out = append(out, c)
		}
		raw = raw[n:]
	}
	return out
}

// appendString appends a string as json.Marshal would write it. Strings in embedded JSON may
// be escaped in any way that JSON allows.
func appendString(out, literal []byte) []byte {
	if asMarshalled(literal) {
		return append(out, literal...)
	}
	var s string
	if err := json.Unmarshal(literal, &s); err != nil {
		return append(out, literal...) // cannot be: json.Marshal has checked it
	}
	escaped, _ := json.Marshal(s) // a string never fails
	return append(out, escaped...)
}

// asMarshalled says that a string escapes nothing but what json.Marshal escapes
// in plain text, which spares reading and writing a long prompt again.
func asMarshalled(literal []byte) bool {
	for {
		i := bytes.IndexByte(literal, '\\')
		if i < 0 {
			return true
		}
		switch literal = literal[i+1:]; literal[0] {
		case '/':
			return false
		case 'u':
			if code := string(literal[1:5]); code != "003c" && code != "003e" && code != "0026" { // < > &
				return false
			}
		}
		literal = literal[1:]
	}
}

// appendNumber appends a number as its digits without zeros at either end, and a
// power of ten: 100, 100.0 and 1e2 all become 1e2. Digits are never lost, as they
// would be in a float64.
func appendNumber(out []byte, literal string) []byte {
	mantissa, power := literal, int64(0)
	if i := strings.IndexAny(literal, "eE"); i >= 0 {
		var err error
		mantissa = literal[:i]
		if power, err = strconv.ParseInt(literal[i+1:], 10, 32); err != nil {
			return append(out, literal...) // beyond all use, and equal to itself at least
		}
	}
	mantissa, negative := strings.CutPrefix(mantissa, "-")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	power -= int64(len(fraction))
	significant := strings.TrimRight(digits, "0")
	power += int64(len(digits) - len(significant))

	if significant == "" {
		return append(out, '0')
	}
	if negative {
		out = append(out, '-')
	}
	out = append(out, significant...)
	if power != 0 {
		out = append(out, 'e')
		out = strconv.AppendInt(out, power, 10)
	}
	return out
}
