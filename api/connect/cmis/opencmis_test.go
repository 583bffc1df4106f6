package cmis

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/build"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// webXML serves the browser binding alone: the others want parts of Java that are not there any more.
const webXML = `<?xml version="1.0" encoding="UTF-8"?>
<web-app xmlns="http://xmlns.jcp.org/xml/ns/javaee" version="3.1" metadata-complete="true">
  <absolute-ordering/>
  <listener><listener-class>org.apache.chemistry.opencmis.server.impl.CmisRepositoryContextListener</listener-class></listener>
  <servlet>
    <servlet-name>browser</servlet-name>
    <servlet-class>org.apache.chemistry.opencmis.server.impl.browser.CmisBrowserBindingServlet</servlet-class>
    <init-param><param-name>callContextHandler</param-name><param-value>org.apache.chemistry.opencmis.server.shared.BasicAuthCallContextHandler</param-value></init-param>
    <load-on-startup>1</load-on-startup>
  </servlet>
  <servlet-mapping><servlet-name>browser</servlet-name><url-pattern>/browser/*</url-pattern></servlet-mapping>
</web-app>
`

// openCMIS starts Apache Chemistry's repository, with nothing in it, and gives the URL of its binding.
func openCMIS(t *testing.T) string {
	t.Helper()
	from := filepath.Join(build.Default.GOPATH, "opencmis")
	war, runner := filepath.Join(from, "opencmis.war"), filepath.Join(from, "jetty-runner.jar")
	_, err := exec.LookPath("java")
	for _, path := range []string{war, runner} {
		_, missing := os.Stat(path)
		err = errors.Join(err, missing)
	}
	if err != nil {
		if os.Getenv("SAE_REQUIRE_PEERS") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	dir := t.TempDir()
	app := filepath.Join(dir, "app")
	unzip(t, war, app)
	config := filepath.Join(app, "WEB-INF", "classes", "repository.properties")
	text, err := os.ReadFile(config)
	if err == nil {
		text = bytes.Replace(text, []byte("\nRepositoryFiller.Enable=true"), []byte("\nRepositoryFiller.Enable=false"), 1)
		err = errors.Join(os.WriteFile(config, text, 0o600), os.WriteFile(filepath.Join(app, "WEB-INF", "web.xml"), []byte(webXML), 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err = errors.Join(err, l.Close()); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.Command("java", "-Xmx256m", "-Djava.io.tmpdir="+dir, "-jar", runner, "--host", "127.0.0.1", "--port", port, "--path", "/ged", app)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait() // it was killed
	})
	at := "http://127.0.0.1:" + port + "/ged/browser"
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		answer, err := http.Get(at)
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode == 200 {
				return at
			}
		}
		if time.Now().After(end) {
			cmd.Process.Kill()
			cmd.Wait()
			t.Fatalf("it does not start: %v\n%s", err, &log)
		}
	}
}

func unzip(t *testing.T, path, to string) {
	t.Helper()
	z, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	if err := os.CopyFS(to, &z.Reader); err != nil {
		t.Fatal(err)
	}
}

// act asks the repository for something, and gives the id of what it made.
func act(t *testing.T, at, object string, props map[string]string, content string, more ...string) string {
	t.Helper()
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	for i := 0; i < len(more); i += 2 {
		form.WriteField(more[i], more[i+1])
	}
	form.WriteField("_charset_", "UTF-8")
	form.WriteField("succinct", "true")
	n := 0
	for id, v := range props {
		form.WriteField(fmt.Sprintf("propertyId[%d]", n), id)
		form.WriteField(fmt.Sprintf("propertyValue[%d]", n), v)
		n++
	}
	if content != "" {
		f, _ := form.CreateFormFile("content", "notification.txt")
		io.WriteString(f, content)
	}
	form.Close()
	r, err := http.NewRequest("POST", at+"/A1/root?objectId="+url.QueryEscape(object), &b)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("u", "p")
	r.Header.Set("Content-Type", form.FormDataContentType())
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	var made struct {
		Props map[string]any `json:"succinctProperties"`
	}
	if err != nil || answer.StatusCode/100 != 2 || json.Unmarshal(said, &made) != nil {
		t.Fatalf("%d %s %v", answer.StatusCode, said, err)
	}
	id, _ := made.Props[propID].(string)
	return id
}

// TestOpenCMIS pulls out of a repository that others made: Apache Chemistry OpenCMIS.
func TestOpenCMIS(t *testing.T) {
	at := openCMIS(t)
	w := newWorld(t)
	m, err := ParseMapping([]byte(`url: ` + at + `
query: SELECT * FROM cmis:folder WHERE cmis:description = 'clos' AND cmis:lastModificationDate >= {since}
originating-agency: MDPH
types:
  - {type: "cmis:folder", description: "-", custom: {source: "$cmis:objectId"}}
  - {type: "*", custom: {version: "$cmis:versionLabel"}}
mark:
  properties: {"cmis:description": $unit}
  documents: true
`))
	if err != nil {
		t.Fatal(err)
	}
	w.p.Mapping = m
	w.p.Browser = &Browser{URL: m.URL, User: "u", Password: "p", HTTP: http.DefaultClient, Pause: w.p.Browser.Pause}
	folder := act(t, at, "100", map[string]string{"cmis:objectTypeId": "cmis:folder", "cmis:name": "Dossier f1", "cmis:description": "clos"}, "", "cmisaction", "createFolder")
	act(t, at, "100", map[string]string{"cmis:objectTypeId": "cmis:folder", "cmis:name": "Ouvert"}, "", "cmisaction", "createFolder")
	sub := act(t, at, folder, map[string]string{"cmis:objectTypeId": "cmis:folder", "cmis:name": "Courriers"}, "", "cmisaction", "createFolder")
	doc := act(t, at, folder, map[string]string{"cmis:objectTypeId": "VersionableType", "cmis:name": "Notification à Élise"}, "v1", "cmisaction", "createDocument", "versioningState", "major")
	pwc := act(t, at, doc, nil, "", "cmisaction", "checkOut")
	w.pass(folder + " changed") // somebody is at work in it
	act(t, at, pwc, nil, "v2 plus long", "cmisaction", "checkIn", "major", "true", "checkinComment", "relu")
	for i := range 120 { // more than a page
		act(t, at, sub, map[string]string{"cmis:objectTypeId": "cmis:document", "cmis:name": fmt.Sprintf("Courrier %d", i)}, fmt.Sprintf("bonjour %d", i), "cmisaction", "createDocument", "versioningState", "none")
	}
	w.p.DryRun = true
	if told := w.pass(folder + " would"); told[0].Units != 2+3+120 || told[0].Contents != 122 {
		t.Errorf("%+v", told)
	}
	w.p.DryRun = false
	told := w.pass(folder + " archived")
	if told[0].Units != 2+3+120 || len(told[0].Problems) > 0 {
		t.Errorf("%+v", told)
	}
	for _, id := range []string{folder, doc} {
		if id == doc {
			all, err := w.p.Browser.versions(context.Background(), doc)
			if err != nil || len(all) != 2 {
				t.Fatalf("%v, %v", all, err)
			}
			id = all[1].ID
		}
		if o, err := w.p.Browser.object(context.Background(), id); err != nil || !markForm.MatchString(o.Text("cmis:description")) {
			t.Errorf("%s is not marked: %v, %v", id, o, err)
		}
	}
	w.pass()
	if w.units() != 2+3+120 {
		t.Errorf("%d units", w.units())
	}
	if _, err := w.p.Browser.object(context.Background(), "none"); !isException(err, "objectNotFound") || strings.Contains(err.Error(), "Unknown object") {
		t.Errorf("%v", err)
	}
}
