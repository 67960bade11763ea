package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"sync/atomic"
	"time"

	"ollama-mcp/internal/caller"
)

// keyPrefix begins every secret that NewKey creates, so that people and secret scanners recognize
// one.
const keyPrefix = "omcp_"

// Key is an API key as the server stores it.
type Key struct {
	// Caller is the caller who presents the key. Its ID is the name of the key, and becomes
	// its Tenant.
	Caller caller.Caller
	// SHA256 is the hash of the secret. A secret has 256 random bits and cannot be guessed, so
	// neither a salt nor a slow hash is needed.
	SHA256 [sha256.Size]byte
	// Expires is when the key is refused from; the zero Time for never.
	Expires time.Time
}

// NewKey creates the secret of a new key, which the caller keeps, and its SHA-256 in hex, which the
// server keeps.
func NewKey() (secret, hash string) {
	random := make([]byte, 32)
	rand.Read(random) // never fails
	secret = keyPrefix + base64.RawURLEncoding.EncodeToString(random)
	sum := sha256.Sum256([]byte(secret))
	return secret, hex.EncodeToString(sum[:])
}

// Keys are the API keys in force. The zero value has none. Its methods are safe for concurrent use.
type Keys struct{ all atomic.Pointer[[]Key] }

// Set replaces all keys. It does not retain the slice.
func (k *Keys) Set(keys []Key) {
	keys = slices.Clone(keys)
	for i := range keys {
		keys[i].Caller.Tenant = keys[i].Caller.ID
	}
	k.all.Store(&keys)
}

// find looks up a secret. The caller is valid until there is no key any more with that secret
// and that name, or it expires. It compares with every key, so that the time it takes depends only
// on the number of keys.
func (k *Keys) find(secret string) (key Key, known bool) {
	keys := k.all.Load()
	if keys == nil {
		return Key{}, false
	}
	sum := sha256.Sum256([]byte(secret))
	found := -1
	for i := range *keys {
		same := subtle.ConstantTimeCompare((*keys)[i].SHA256[:], sum[:])
		found = subtle.ConstantTimeSelect(same, i, found)
	}
	if found < 0 {
		return Key{}, false
	}
	key = (*keys)[found]
	key.Caller.Expires = key.Expires
	id := key.Caller.ID
	key.Caller.Valid = func() bool {
		return slices.ContainsFunc(*k.all.Load(), func(now Key) bool { return now.SHA256 == sum && now.Caller.ID == id && !now.hasExpired() })
	}
	return key, true
}

func (k Key) hasExpired() bool { return !k.Expires.IsZero() && !time.Now().Before(k.Expires) }

// admit returns the caller of a key, unless the key has expired.
func (k Key) admit() (caller.Caller, error) {
	if k.hasExpired() {
		return caller.Caller{}, invalidToken("the key has expired; ask the operator of this server for a new one")
	}
	return k.Caller, nil
}
