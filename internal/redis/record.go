package redis

import (
	"bytes"
	"cmp"
	"compress/flate"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"ollama-mcp/cache"
)

// A record begins with the version of its form and a byte of flags. Its body is the length of
// the header, the header and the answer; it may be compressed, and then sealed.

const (
	// recordVersion is the version of the form that records have. It is part of their keys too,
	// so that two versions of the program do not meet: one that does is a mistake of somebody.
	recordVersion = 1

	isCompressed = 1 << 0
	isSealed     = 1 << 1

	// maxRecord bounds a record, in bytes: one that is larger would hold up the connection.
	maxRecord = 1 << 20
	// maxBody bounds a body after it was decompressed, in bytes.
	maxBody = 16 << 20
	// worthCompressing is the size of a body from which it is compressed, in bytes.
	worthCompressing = 1 << 10
)

// header is what a record says about its answer.
type header struct {
	Scope  cache.Scope // of the answer, which serves nowhere else
	Era    string      // when all was last cleared, as the hash of what was cleared has it
	Model  string      `json:",omitempty"` // likewise, the answers of the model
	Took   time.Duration
	Stored time.Time
}

// encode makes a record of an answer. key is the name of the record's key, which a sealed record
// is bound to.
func (s *sealer) encode(key string, h header, data []byte) ([]byte, error) {
	head, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	body := binary.AppendUvarint(nil, uint64(len(head)))
	body = append(append(body, head...), data...)
	if len(body) > maxBody {
		return nil, errTooLarge
	}
	flags := byte(0)
	if len(body) >= worthCompressing {
		if small := compressed(body); len(small) < len(body) {
			body, flags = small, flags|isCompressed
		}
	}
	if s != nil {
		flags |= isSealed
	}
	record := []byte{recordVersion, flags}
	if s == nil {
		record = append(record, body...)
	} else {
		record = append(record, s.aead.Seal(nil, nil, body, additional(record, key))...)
	}
	if len(record) > maxRecord {
		return nil, errTooLarge
	}
	return record, nil
}

var errTooLarge = errors.New("the answer is too large to be shared")

// decode reads a record.
func (s *sealer) decode(key string, record []byte) (h header, data []byte, err error) {
	switch {
	case len(record) > maxRecord:
		return h, nil, errTooLarge
	case len(record) < 2 || record[0] == 0 || record[0] > recordVersion && record[0] >= ' ':
		return h, nil, errors.New("it is none of ours")
	case record[0] > recordVersion:
		return h, nil, fmt.Errorf("its version is %d, and this program knows version %d", record[0], recordVersion)
	case record[1]&^(isCompressed|isSealed) != 0:
		return h, nil, errors.New("its flags are unknown")
	}
	body := record[2:]
	switch sealed := record[1]&isSealed != 0; {
	case sealed && s == nil:
		return h, nil, errors.New("it is sealed, and there is no key")
	case !sealed && s != nil:
		return h, nil, errors.New("it is not sealed")
	case sealed:
		if body, err = s.aead.Open(nil, nil, body, additional(record[:2], key)); err != nil {
			return h, nil, errors.New("its seal does not fit the key")
		}
	}
	if record[1]&isCompressed != 0 {
		if body, err = decompressed(body); err != nil {
			return h, nil, err
		}
	}
	length, n := binary.Uvarint(body)
	if n <= 0 || length > uint64(len(body)-n) {
		return h, nil, errors.New("it is cut")
	}
	head, data := body[n:n+int(length)], body[n+int(length):]
	if err := json.Unmarshal(head, &h); err != nil {
		return h, nil, errors.New("its header is broken")
	}
	return h, data, nil
}

// additional is what a seal covers beside the body.
func additional(flags []byte, key string) []byte { return append(bytes.Clone(flags), key...) }

func compressed(body []byte) []byte {
	var out bytes.Buffer
	w, _ := flate.NewWriter(&out, flate.BestSpeed) // the level is a valid one
	_, err := w.Write(body)
	if err = cmp.Or(err, w.Close()); err != nil {
		return body // a buffer takes everything
	}
	return out.Bytes()
}

func decompressed(body []byte) ([]byte, error) {
	out, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(body)), maxBody+1))
	switch {
	case err != nil:
		return nil, errors.New("it cannot be decompressed")
	case len(out) > maxBody:
		return nil, errTooLarge
	}
	return out, nil
}

// sealer encrypts records, and names their keys so that they tell nothing of the requests. A nil
// sealer does neither.
type sealer struct {
	aead  cipher.AEAD
	names []byte // secret for the names of keys
}

func newSealer(secret []byte) (*sealer, error) {
	derive := func(what string) ([]byte, error) {
		return hkdf.Key(sha256.New, secret, nil, "ollama-mcp shared cache, "+what, 32)
	}
	contents, err := derive("contents")
	if err != nil {
		return nil, err
	}
	names, err := derive("names")
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(contents)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return &sealer{aead, names}, err
}

// name is a name, or what only those with the secret can tell to stand for it.
func (s *sealer) name(plain string) string {
	if s == nil {
		return plain
	}
	mac := hmac.New(sha256.New, s.names)
	mac.Write([]byte(plain))
	return hex.EncodeToString(mac.Sum(nil))
}
