package call

import (
	"os/exec"
	"syscall"
)

// setApart keeps the console's Ctrl-C from the server: it is for us, who cancel
// the call, while a server that is told to stop no longer listens.
func setApart(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}
