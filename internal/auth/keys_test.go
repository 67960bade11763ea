package auth_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/auth"
	"ollama-mcp/internal/caller"
)

// key is what the server keeps of a key.
func key(tb testing.TB, c caller.Caller, hash string) auth.Key {
	tb.Helper()
	k := auth.Key{Caller: c}
	if n, err := hex.Decode(k.SHA256[:], []byte(hash)); n != len(k.SHA256) || err != nil {
		tb.Fatalf("hash %q: %d bytes, %v", hash, n, err)
	}
	return k
}

// keys are the keys in force, of which there is one.
func keys(tb testing.TB, c caller.Caller, hash string) *auth.Keys {
	tb.Helper()
	var k auth.Keys
	k.Set([]auth.Key{key(tb, c, hash)})
	return &k
}

func TestNewKeyHas256BitsAndIsRecognised(t *testing.T) {
	// 43 characters of 6 bits are the least that hold 256.
	form := regexp.MustCompile(`^omcp_[A-Za-z0-9_-]{43}$`)
	first, _ := auth.NewKey()
	second, _ := auth.NewKey()
	if !form.MatchString(first) || first == second {
		t.Errorf("got %q and %q, want two different secrets of the form %s", first, second, form)
	}
}

func TestKeyNamesItsCallerAndTenant(t *testing.T) {
	var all []auth.Key
	secrets := map[string]string{}
	for _, name := range []string{"first", "middle", "last"} {
		secret, hash := auth.NewKey()
		secrets[name] = secret
		all = append(all, key(t, caller.Caller{ID: name, Tenant: "other", Models: []string{name}}, hash))
	}
	var k auth.Keys
	k.Set(all)
	a := &auth.Authenticator{Keys: &k}
	for name, secret := range secrets {
		got, err := a.Authenticate(with(t.Context(), secret))
		if err != nil || got.ID != name || got.Tenant != name || !got.MayUse(name) || got.MayUse("another") {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}

func TestKeysAreExchangedWhileInUse(t *testing.T) {
	secret, hash := auth.NewKey()
	other, otherHash := auth.NewKey()
	both := []auth.Key{key(t, caller.Caller{ID: "ci"}, hash), key(t, caller.Caller{ID: "new"}, otherHash)}
	var k auth.Keys
	k.Set(both[:1])
	a := &auth.Authenticator{Keys: &k}

	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 200 {
				if got, err := a.Authenticate(with(t.Context(), secret)); got.ID != "ci" || err != nil {
					t.Errorf("while keys are added and removed: got %q, %v", got.ID, err)
					return
				}
			}
		})
	}
	for n := range 200 {
		k.Set(both[:1+n%2])
	}
	all.Wait()

	k.Set(both[1:])
	if _, err := a.Authenticate(with(t.Context(), secret)); code(t, err, secret) != "invalid_token" {
		t.Errorf("a key that was removed: got %v, want invalid_token", err)
	}
	if got, err := a.Authenticate(with(t.Context(), other)); got.ID != "new" || err != nil {
		t.Errorf("the key that is left: got %q, %v", got.ID, err)
	}
}

func TestCallerIsValidAsLongAsItsSecretHasItsName(t *testing.T) {
	secret, hash := auth.NewKey()
	_, another := auth.NewKey()
	ci := key(t, caller.Caller{ID: "ci"}, hash)
	var k auth.Keys
	k.Set([]auth.Key{ci})
	got, err := (&auth.Authenticator{Keys: &k}).Authenticate(with(t.Context(), secret))
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]struct {
		keys    []auth.Key
		revoked bool
	}{
		"nothing has changed": {[]auth.Key{ci}, false},
		"it may do less":      {[]auth.Key{key(t, caller.Caller{ID: "ci", Models: []string{}}, hash)}, false},
		"it is gone":          {nil, true},
		"it has a new secret": {[]auth.Key{key(t, caller.Caller{ID: "ci"}, another)}, true},
		"it has a new name":   {[]auth.Key{key(t, caller.Caller{ID: "cd"}, hash)}, true},
	} {
		k.Set(change.keys)
		if got.IsRevoked() != change.revoked {
			t.Errorf("%s: the caller is revoked: %v", name, got.IsRevoked())
		}
	}
}

func BenchmarkKeys(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			all := make([]auth.Key, n)
			secret := ""
			for i := range all {
				var hash string
				secret, hash = auth.NewKey()
				all[i] = key(b, caller.Caller{ID: fmt.Sprint(i)}, hash)
			}
			var k auth.Keys
			k.Set(all)
			a := &auth.Authenticator{Keys: &k}
			r := with(b.Context(), secret)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := a.Authenticate(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestKeyIsRefusedFromTheMomentItExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		secret, hash := auth.NewKey()
		k := key(t, caller.Caller{ID: "ci"}, hash)
		k.Expires = time.Now().Add(time.Hour)
		keys := new(auth.Keys)
		keys.Set([]auth.Key{k})
		a := auth.Authenticator{Keys: keys}
		r := httptest.NewRequest("POST", "/mcp", nil)
		r.Header.Set("Authorization", "Bearer "+secret)
		time.Sleep(time.Hour - 1)
		if c, err := a.Authenticate(r); err != nil || c.ID != "ci" || !c.Expires.Equal(k.Expires) {
			t.Errorf("before: %+v, %v", c, err)
		}
		time.Sleep(time.Nanosecond)
		denied, ok := errors.AsType[*caller.Denied](second(a.Authenticate(r)))
		if !ok || denied.Code != "invalid_token" || !strings.Contains(denied.Message, "expired") {
			t.Errorf("after: %+v", denied)
		}
	})
}

func second(_ caller.Caller, err error) error { return err }
