package app

import (
	"fmt"

	"ollama-mcp/internal/auth"
)

// newToken makes a key for a caller. The key is printed once; only its hash is stored, which
// admits nobody.
func newToken(args []string, std Stdio) int {
	if len(args) != 2 || args[0] != "new" {
		return complain(std, fmt.Errorf("usage: ollama-mcp token new NAME, where NAME stands for the key in logs"))
	}
	secret, hash := auth.NewKey()
	fmt.Fprintln(std.Out, secret)
	fmt.Fprintf(std.Err, "This is the key; it is not shown again. Add this line to the file of --token-file:\n\n- {name: %q, sha256: %s}\n", args[1], hash)
	return ok
}
