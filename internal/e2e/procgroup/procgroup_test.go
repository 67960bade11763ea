package procgroup_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"ollama-mcp/internal/e2e/procgroup"
)

// A program that is run with this variable set starts the command in it, reports the
// number of its group, and then waits to be killed.
const helperVariable = "PROCGROUP_HELPER_COMMAND"

func TestMain(m *testing.M) {
	if command := os.Getenv(helperVariable); command != "" {
		cmd := exec.Command("sh", "-c", command)
		cmd.Stdout = os.Stdout
		group, err := procgroup.Start(cmd)
		if err != nil {
			panic(err)
		}
		fmt.Println("group", group.ID())
		time.Sleep(time.Hour) // it is killed before
	}
	os.Exit(m.Run())
}

func TestGroupEndsWithTheProgramThatStartedIt(t *testing.T) {
	for name, prepare := range map[string]func(group int) error{
		"running":                             func(int) error { return nil },
		"stopped":                             func(group int) error { return syscall.Kill(-group, syscall.SIGSTOP) },
		"leader has ended, its child has not": func(group int) error { return syscall.Kill(group, syscall.SIGKILL) },
	} {
		t.Run(name, func(t *testing.T) {
			helper := exec.Command(os.Args[0])
			helper.Env = append(os.Environ(), helperVariable+"=sleep 600 & echo started; wait")
			out, err := helper.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := helper.Start(); err != nil {
				t.Fatal(err)
			}
			var group int
			for n := 0; n < 2; n++ { // in either order
				var word string
				if _, err := fmt.Fscan(out, &word); err != nil {
					t.Fatal(err)
				}
				if word == "group" {
					if _, err := fmt.Fscan(out, &group); err != nil {
						t.Fatal(err)
					}
				}
			}
			t.Cleanup(func() { _ = syscall.Kill(-group, syscall.SIGKILL) })
			if err := prepare(group); err != nil {
				t.Fatal(err)
			}
			if before, err := procgroup.Members(group); err != nil || len(before) == 0 {
				t.Fatalf("before the program is killed, the group has the members %v (%v)", before, err)
			}
			if err := helper.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = helper.Wait() // killed
			awaitEnd(t, group)
		})
	}
}

func TestKillEndsTheWholeGroupAndLeavesNothingThatHoldsItsOutput(t *testing.T) {
	cmd := exec.Command("sh", "-c", "sleep 600 & echo started; wait")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	group, err := procgroup.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	group.Kill()
	_ = cmd.Wait() // killed; returns only when nobody holds the output any more
	awaitEnd(t, group.ID())
	group.Kill()
	if errs.Len() > 0 {
		t.Errorf("on standard error: %q", &errs)
	}
}

func TestCommandKeepsItsArgumentsItsInputAndItsStatus(t *testing.T) {
	cmd := exec.Command("sh", "-c", `cat; echo "$1|$2"; echo oops >&2; exit 3`, "sh", "a b", "c'd")
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader("input\n"), &out, &errs
	group, err := procgroup.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer group.Kill()
	_ = cmd.Wait() // its status is looked at below
	if out.String() != "input\na b|c'd\n" || errs.String() != "oops\n" || cmd.ProcessState.ExitCode() != 3 {
		t.Errorf("got %q, %q and status %d", &out, &errs, cmd.ProcessState.ExitCode())
	}
}

func TestMissingProgramIsAnErrorOfStart(t *testing.T) {
	if _, err := procgroup.Start(exec.Command("/none/program")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("by its path: got %v, want that it does not exist", err)
	}
	if _, err := procgroup.Start(exec.Command("no-program-of-this-name")); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("by its name: got %v, want that it was not found", err)
	}
}

// awaitEnd waits until no process of a group is left. The limit only catches a hang.
func awaitEnd(t *testing.T, group int) {
	t.Helper()
	for limit := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		left, err := procgroup.Members(group)
		if err != nil {
			t.Fatal(err)
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("processes %v of group %d are still there", left, group)
		}
	}
}
