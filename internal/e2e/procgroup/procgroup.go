// Package procgroup starts commands that do not outlive the program that started
// them: servers that a test needs would otherwise stay behind, with all that they
// hold, each time a test run is killed or exceeds its time limit.
package procgroup

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// guarded runs a command in place of the shell, and beside it a watcher that blocks
// until the pipe at descriptor 3 is closed and then kills the command's process group.
// The kernel closes the pipe when the program that holds its other end exits, so this
// needs no cleanup and leaves no moment in which a command runs unwatched.
//
// The watcher has a process group of its own ("set -m"), so that stopping the command's
// group does not stop the watcher. It keeps none of the command's files open, and bash
// is not shown the real standard error meanwhile, since it would look there for a
// terminal to control.
const guarded = `
exec 4>&2 2>/dev/null
set -m
{ read -r; kill -KILL -- -$$; } <&3 3<&- 4>&- &>/dev/null &
set +m
exec "$@" 2>&4 3<&- 4>&-`

// A Group is a running command together with the processes that it has started.
type Group struct {
	pid  int
	held *os.File // closing it makes the watcher kill the group
}

// Start starts cmd as the leader of a process group of its own, which is killed when
// this program exits, in whatever way. The caller waits for cmd as usual, and calls
// Kill in the end. The command must not use ExtraFiles or SysProcAttr. Needs bash.
func Start(cmd *exec.Cmd) (*Group, error) {
	if cmd.Err != nil {
		return nil, cmd.Err
	}
	path, err := exec.LookPath(cmd.Path) // bash would report a missing program by its exit status alone
	if err != nil {
		return nil, err
	}
	shell, err := exec.LookPath("bash")
	if err != nil {
		return nil, err
	}
	watched, held, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer watched.Close()

	cmd.Args = append([]string{"bash", "-c", guarded, "bash", path}, cmd.Args[1:]...)
	cmd.Path = shell
	cmd.ExtraFiles = []*os.File{watched}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, held.Close())
	}
	return &Group{pid: cmd.Process.Pid, held: held}, nil
}

// ID is the number of the process group, which is the process ID of its leader.
func (g *Group) ID() int { return g.pid }

// Signal sends a signal to every process of the group.
func (g *Group) Signal(s syscall.Signal) error { return syscall.Kill(-g.pid, s) }

// Kill kills what is left of the group and ends its watcher. It may be called again.
func (g *Group) Kill() {
	_ = g.Signal(syscall.SIGKILL) // fails if no process is left
	_ = g.held.Close()            // fails if it is closed already
}
