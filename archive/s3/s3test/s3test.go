// Package s3test starts real S3 servers for tests.
package s3test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"sae/archive/s3"
)

// A Server is a program that speaks S3.
type Server struct {
	Name    string
	Install string // how to get it
	args    func(addr, dir string) []string
	env     []string
}

// The servers.
var (
	MinIO = Server{"minio", "go install github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c", func(addr, dir string) []string {
		return []string{"server", "--quiet", "--address", addr, dir}
	}, []string{"MINIO_ROOT_USER=sae-test", "MINIO_ROOT_PASSWORD=sae-test-secret", "MINIO_BROWSER=off", "MINIO_UPDATE=off", "MINIO_CALLHOME_ENABLE=off"}}
	VersityGW = Server{"versitygw", "go install github.com/versity/versitygw/cmd/versitygw@v1.8.0", func(addr, dir string) []string {
		versions, iam := filepath.Join(dir, "versions"), filepath.Join(dir, "iam")
		data := filepath.Join(dir, "data")
		for _, d := range []string{versions, iam, data} {
			os.MkdirAll(d, 0o700)
		}
		return []string{"--port", addr, "--access", "sae-test", "--secret", "sae-test-secret", "--quiet", "--iam-dir", iam, "posix", "--versioning-dir", versions, data}
	}, nil}
)

var buckets atomic.Int64

// Running is a server that runs.
type Running struct {
	Endpoint string
	Client   *minio.Client
	Stop     func() // as a crash would
	Restart  func()
}

// Start runs a server on a free port of the loopback until the test ends. A server that is
// not installed skips the test, or fails it where SAE_REQUIRE_PEERS is set.
func Start(t testing.TB, s Server) *Running {
	t.Helper()
	program := find(s.Name)
	if program == "" {
		if os.Getenv("SAE_REQUIRE_PEERS") != "" {
			t.Fatalf("%s is missing: %s", s.Name, s.Install)
		}
		t.Skipf("%s is missing: %s", s.Name, s.Install)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "sae-test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "sae-test-secret")
	dir, addr := t.TempDir(), freePort(t)
	r := &Running{Endpoint: "http://" + addr}
	var cmd *exec.Cmd
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	r.Restart = func() {
		cmd = exec.Command(program, s.args(addr, dir)...)
		cmd.Env = append(os.Environ(), s.env...)
		cmd.Stdout, cmd.Stderr = log, log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		r.await(t, log.Name())
	}
	r.Stop = func() {
		if cmd != nil {
			cmd.Process.Kill()
			cmd.Wait()
			cmd = nil
		}
	}
	t.Cleanup(r.Stop)
	client, err := minio.New(addr, &minio.Options{Creds: credentials.NewStaticV4("sae-test", "sae-test-secret", ""), MaxRetries: 1})
	if err != nil {
		t.Fatal(err)
	}
	r.Client = client
	r.Restart()
	return r
}

func find(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, dir := range []string{os.Getenv("GOBIN"), goBin()} {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); dir != "" && err == nil {
			return path
		}
	}
	return ""
}

func goBin() string {
	out, err := exec.Command("go", "env", "GOPATH").Output()
	if err != nil {
		return ""
	}
	return filepath.Join(strings.TrimSpace(string(out)), "bin")
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (r *Running) await(t testing.TB, log string) {
	t.Helper()
	for range 300 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_, err := r.Client.ListBuckets(ctx)
		cancel()
		if err == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	b, _ := os.ReadFile(log)
	t.Fatalf("the server does not answer: %s", b)
}

// Bucket makes a new bucket and gives the configuration of a place in it. With lock, it has
// Object Lock.
func (r *Running) Bucket(t testing.TB, lock string) s3.Config {
	t.Helper()
	name := fmt.Sprintf("test-%d", buckets.Add(1))
	if err := r.Client.MakeBucket(context.Background(), name, minio.MakeBucketOptions{ObjectLocking: lock != ""}); err != nil {
		t.Fatal(err)
	}
	return s3.Config{Endpoint: r.Endpoint, Bucket: name, Prefix: "sae/", Lock: lock, Timeout: 10 * time.Second, Tries: 3}
}
