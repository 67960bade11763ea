package app

import (
	"fmt"

	"ollama-mcp/internal/auth"
)

// newToken makes the key of a caller: it is printed once, and what is stored of it
// lets nobody in.
func newToken(args []string, std Stdio) int {
	if len(args) != 2 || args[0] != "new" {
		return complain(std, fmt.Errorf("want `token new NAME`, where NAME is what logs call the key"))
	}
	secret, hash := auth.NewKey()
	fmt.Fprintln(std.Out, secret)
	fmt.Fprintf(std.Err, "This is the key; it is not shown again. For the file of --token-file:\n\n- {name: %q, sha256: %s}\n", args[1], hash)
	return ok
}
