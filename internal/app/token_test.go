//go:build !race

package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKeysAreMadeListedAndRevoked(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "keys.yaml")
	one, errs, status := program(t, "", nil, "token", "new", "ci", "--append", file)
	if status != ok || len(one) < 20 || strings.Contains(errs, strings.TrimSpace(one)) {
		t.Fatalf("new: status %d, %q, %q", status, one, errs)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info, err)
	}
	if _, errs, status := program(t, "", nil, "token", "new", "ci", "--append", file); status != failure || !strings.Contains(errs, "another key has that name") {
		t.Errorf("the same name again: status %d, %s", status, errs)
	}
	program(t, "", nil, "token", "new", "laptop", "--append", file)
	if list, errs, status := program(t, "", nil, "token", "list", file); status != ok || !strings.Contains(list, "ci ") || !strings.Contains(list, "laptop ") || strings.Contains(list, "sha256") {
		t.Errorf("list: status %d\n%s%s", status, list, errs)
	}
	if _, errs, status := program(t, "", nil, "token", "revoke", "ci", file); status != ok || !strings.Contains(errs, "was removed") {
		t.Errorf("revoke: status %d, %s", status, errs)
	}
	if list, _, _ := program(t, "", nil, "token", "list", file); strings.Contains(list, "ci ") || !strings.Contains(list, "laptop ") {
		t.Errorf("after that:\n%s", list)
	}
	program(t, "", nil, "token", "revoke", "laptop", file)
	if list, errs, status := program(t, "", nil, "token", "list", file); status != ok || list != "" || !strings.Contains(errs, "has no keys") {
		t.Errorf("without keys: status %d\n%s%s", status, list, errs)
	}
	for _, args := range [][]string{{"revoke", "ci", file}, {"revoke", "ci", file + ".none"}, {"list", file + ".none"}} {
		if _, errs, status := program(t, "", nil, append([]string{"token"}, args...)...); status != failure || errs == "" {
			t.Errorf("%v: status %d, %s", args, status, errs)
		}
	}
}
