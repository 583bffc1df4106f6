// Package bctest verifies evidence records in tests with an independent
// implementation of RFC 4998, BouncyCastle, which needs a JDK and the jars of
// Debian's libbcpkix-java.
//
// VerifyRecord.java, the program it runs, also serves by hand:
//
//	java -cp '/usr/share/java/*' VerifyRecord.java RECORD ROOTS MEMBER...
package bctest

import (
	"bufio"
	_ "embed" // for the Java program
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

//go:embed VerifyRecord.java
var program []byte

const install = "install openjdk-17-jdk-headless and libbcpkix-java"

// Verifier starts BouncyCastle and returns a function that verifies an evidence
// record in DER for the members of its data object group: every chain, renewal
// and token signature, with certificate paths to roots (PEM). A nil error is
// acceptance. The function is for one goroutine at a time and until t ends.
//
// Without a JDK or the jars it skips t, or fails it when SAE_REQUIRE_PEERS=1.
func Verifier(t testing.TB) func(record []byte, members [][]byte, roots []byte) error {
	t.Helper()
	classpath := jars(t)
	dir := t.TempDir()
	source := filepath.Join(dir, "VerifyRecord.java")
	write(t, source, program)
	cmd := exec.Command("java", "-Xshare:auto", "-XX:+UseSerialGC", "-cp", classpath, source, "-")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatalf("starting java: %v", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatalf("starting java: %v", err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting java: %v", err)
	}
	t.Cleanup(func() {
		in.Close() // ends the program's loop
		if err := cmd.Wait(); err != nil {
			t.Errorf("ending java: %v", err)
		}
	})
	answers := bufio.NewReader(out)
	return func(record []byte, members [][]byte, roots []byte) error {
		t.Helper()
		paths := requestFiles(t, dir, record, members, roots)
		return ask(t, in, answers, paths)
	}
}

// jars returns the class path, or skips or fails the test.
func jars(t testing.TB) string {
	t.Helper()
	missing := func(what string) {
		if os.Getenv("SAE_REQUIRE_PEERS") == "1" {
			t.Fatalf("%s is missing: %s", what, install)
		}
		t.Skipf("%s is missing: %s", what, install)
	}
	if _, err := exec.LookPath("javac"); err != nil {
		missing("javac")
	}
	var paths []string
	for _, name := range []string{"bcprov.jar", "bcutil.jar", "bcpkix.jar"} {
		path := filepath.Join("/usr/share/java", name)
		if _, err := os.Stat(path); err != nil {
			missing(path)
		}
		paths = append(paths, path)
	}
	return strings.Join(paths, string(filepath.ListSeparator))
}

func requestFiles(t testing.TB, dir string, record []byte, members [][]byte, roots []byte) []string {
	t.Helper()
	paths := []string{filepath.Join(dir, "record.der"), filepath.Join(dir, "roots.pem")}
	write(t, paths[0], record)
	write(t, paths[1], roots)
	for i, m := range members {
		path := filepath.Join(dir, fmt.Sprintf("member%d", i+1))
		write(t, path, m)
		paths = append(paths, path)
	}
	return paths
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatalf("writing for java: %v", err)
	}
}

func ask(t testing.TB, in io.Writer, answers *bufio.Reader, paths []string) error {
	t.Helper()
	if _, err := io.WriteString(in, strings.Join(paths, "\t")+"\n"); err != nil {
		t.Fatalf("asking java: %v", err)
	}
	answer, err := answers.ReadString('\n')
	if err != nil {
		t.Fatalf("asking java: %v", err)
	}
	if answer = strings.TrimSpace(answer); answer != "OK" {
		return errors.New(answer)
	}
	return nil
}
