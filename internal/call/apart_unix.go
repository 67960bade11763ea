//go:build unix

package call

import (
	"os/exec"
	"syscall"
)

// setApart keeps the terminal's signals from the server: Ctrl-C is for us, who
// cancel the call, while a server that is told to stop no longer listens.
func setApart(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
