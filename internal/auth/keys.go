package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"sync/atomic"

	"ollama-mcp/internal/caller"
)

// keyPrefix begins every secret that NewKey makes, so that people and scanners of
// leaked secrets recognise one.
const keyPrefix = "omcp_"

// Key is what the server keeps of an API key.
type Key struct {
	// Caller is who presents the key, and what they may. Its ID is the name of the
	// key, and becomes its Tenant.
	Caller caller.Caller
	// SHA256 is the hash of the secret. It needs no salt and no slow function, since
	// a secret is 256 random bits: there is nothing to guess.
	SHA256 [sha256.Size]byte
}

// NewKey makes the secret of a new key, for the caller to keep, and its SHA-256 in
// hex, for the server.
func NewKey() (secret, hash string) {
	random := make([]byte, 32)
	rand.Read(random) // never fails
	secret = keyPrefix + base64.RawURLEncoding.EncodeToString(random)
	sum := sha256.Sum256([]byte(secret))
	return secret, hex.EncodeToString(sum[:])
}

// Keys are the API keys in force. The zero Keys are none. They may be used and set
// at the same time.
type Keys struct{ all atomic.Pointer[[]Key] }

// Set puts keys in the place of all there were. It does not keep the slice.
func (k *Keys) Set(keys []Key) {
	keys = slices.Clone(keys)
	for i := range keys {
		keys[i].Caller.Tenant = keys[i].Caller.ID
	}
	k.all.Store(&keys)
}

// find looks a secret up. It compares with every key, so that the time it takes
// depends on nothing but how many there are.
func (k *Keys) find(secret string) (caller.Caller, bool) {
	keys := k.all.Load()
	if keys == nil {
		return caller.Caller{}, false
	}
	sum := sha256.Sum256([]byte(secret))
	found := -1
	for i := range *keys {
		same := subtle.ConstantTimeCompare((*keys)[i].SHA256[:], sum[:])
		found = subtle.ConstantTimeSelect(same, i, found)
	}
	if found < 0 {
		return caller.Caller{}, false
	}
	return (*keys)[found].Caller, true
}
