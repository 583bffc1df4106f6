package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"sae/api"
	"sae/archive"
)

// TestNoVerbReachesTheDiskOfTheService gives every verb, in every flag and every place, the name of a file
// and of a folder of the service, which are watched: nothing opens the one, or makes anything in the other.
func TestNoVerbReachesTheDiskOfTheService(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("SAE_DIR", "archive")
	if r := do(t, "", "init"); r.status != 0 {
		t.Fatal(r)
	}
	if err := errors.Join(os.Mkdir("watched", 0o700), os.WriteFile("watched/secret.yaml", []byte("secret"), 0o600)); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err == nil {
		defer unix.Close(fd)
		_, err = unix.InotifyAddWatch(fd, "watched", unix.IN_OPEN|unix.IN_ACCESS|unix.IN_CREATE|unix.IN_MOVED_TO)
	}
	if err != nil {
		t.Fatal(err)
	}
	touched := func() bool {
		n, err := unix.Read(fd, make([]byte, 64<<10))
		return err == nil && n > 0
	}
	if _, err := os.ReadFile("watched/secret.yaml"); err != nil || !touched() {
		t.Fatalf("the watch shows nothing: %v", err)
	}
	a, err := archive.Open("archive", archive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	view, err := a.Within("")
	if err != nil {
		t.Fatal(err)
	}
	life, end := context.WithCancel(t.Context())
	defer end()
	verbs := newRunner(life)
	asked := 0
	for name, cmd := range verbsBelow((&cli{served: &served{Command: &api.Command{}}}).root(), map[string]*cobra.Command{}) {
		whole, known := api.Verbs()[name]
		if !known {
			continue
		}
		of := view
		if whole {
			of = a
		}
		try := func(args ...string) {
			files := &noFiles{}
			var out bytes.Buffer
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			verbs.run(ctx, &api.Command{Verb: name, Args: args, Agent: "tester", Tenant: a.Config().Tenants[0].ID, Archive: of, Seal: func(context.Context) ([]archive.Sealed, error) { return nil, nil }, In: strings.NewReader(""), Out: &out, Err: &out, Files: files})
			asked += files.asked
			if touched() || strings.Contains(out.String(), "secret\n") {
				t.Errorf("sae %s %v reaches the disk of the service: %s", name, args, &out)
			}
		}
		id := "u" + strings.Repeat("a", 26)
		for _, positional := range [][]string{nil, {"watched/secret.yaml"}, {id, "watched/secret.yaml"}, {"watched/new", "watched/secret.yaml"}} {
			try(positional...)
			flags := func(f *pflag.Flag) {
				if strings.HasPrefix(f.Value.Type(), "string") {
					try(append([]string{"--" + f.Name + "=watched/secret.yaml"}, positional...)...)
					try(append([]string{"--" + f.Name + "=watched/new"}, positional...)...)
				}
			}
			cmd.LocalFlags().VisitAll(flags)
			cmd.InheritedFlags().VisitAll(flags)
		}
	}
	if asked < 50 {
		t.Errorf("the client was asked %d times: the test shows little", asked)
	}
}
