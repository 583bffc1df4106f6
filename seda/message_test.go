package seda

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"
)

// aMessage is a message of a name with all that it can say.
func aMessage(name string, v Version) *Message {
	when := time.Date(2031, 3, 31, 10, 20, 30, 0, time.UTC)
	m := &Message{Name: name, Version: v, Identifier: "m-1", Date: when, Comments: []string{"un <commentaire>", "a second"}}
	has := func(e string) bool { return modelOf(v).element(name+"Type", e) != nil }
	if name == "Acknowledgement" {
		m.Received, m.Sender, m.Receiver = "m-0", "SAE", "GED"
		return m
	}
	m.Agreement, m.ArchivalAgency, m.Other = "AV-1", "AD99", "DIR-1"
	if has("MessageRequestIdentifier") {
		m.Code, m.InReplyTo = OutcomeOK, "m-0"
		m.Events = []Event{{Code: "E", Type: "Contrôle", Time: when, Outcome: OutcomeOK, Detail: "E.OK", Message: "Fait", Data: `a="b"`}}
	}
	if has("UnitIdentifier") {
		m.Units = []string{"u1", "u2"}
	}
	if has("AuthorizationRequestReplyIdentifier") {
		m.Authorization = "visa-7"
	}
	if has("AuthorizationRequestContent") {
		m.Request = &AuthorizationRequest{Reason: "ArchiveDestructionRequest", Comments: []string{"bordereau 12"}, Date: time.Date(2031, 3, 30, 0, 0, 0, 0, time.UTC),
			Units: []string{"u1"}, Requester: "AD99"}
	}
	if has("TransferDate") {
		m.TransferDate = when.Add(time.Hour)
	}
	if has("RelatedTransferReference") {
		m.Related = []string{"t-1"}
	}
	m.Derogation = has("Derogation")
	return m
}

// TestMessages writes every message in every version, reads it back, and has libxml2
// judge it by the official schema.
func TestMessages(t *testing.T) {
	for _, v := range []Version{V21, V22, V23} {
		docs := map[string][]byte{}
		for _, name := range messages {
			if slices.Contains([]string{"ArchiveTransfer", "ArchiveTransferReply"}, name) {
				continue // these carry packages, and are written by Export and Reply
			}
			m := aMessage(name, v)
			var b bytes.Buffer
			if err := m.Write(&b); err != nil {
				t.Fatal(err)
			}
			docs[name] = b.Bytes()
			var fs Findings
			back, err := ReadMessage(bytes.NewReader(b.Bytes()), Strict, &fs)
			if err != nil || len(fs.List) > 0 {
				t.Errorf("%s %s: %v, %v\n%s", name, v, err, fs.List, b.Bytes())
				continue
			}
			if !reflect.DeepEqual(back, m) {
				t.Errorf("%s %s: read back as\n%+v, not\n%+v", name, v, back, m)
			}
		}
		if _, err := os.Stat(filepath.Join(samples, "xsd")); err != nil {
			continue
		}
		for name, err := range xmllint(t, v, docs) {
			t.Errorf("%s %s: %v", name, v, err)
		}
	}
}

func TestReplyIsValid(t *testing.T) {
	when := time.Date(2031, 3, 31, 10, 20, 30, 0, time.UTC)
	fs := Findings{}
	fs.Add(Finding{Code: DigestMismatch, Severity: Error, Line: 3, ID: "ID7", Expected: "aa", Found: "bb", Path: "/a/b"})
	for _, v := range []Version{V21, V22, V23} {
		docs := map[string][]byte{}
		for name, r := range map[string]*Reply{
			"taken": {Version: v, Identifier: "p1", Date: when, Granted: when, Code: OutcomeOK, To: Header{Identifier: "m", Agreement: "a", ArchivalAgency: "AD", TransferringAgency: "T"},
				Objects: slices.Values([]Given{{XMLID: "ID1", SystemID: "o1", Group: "G1", GroupID: "g1", Usage: "BinaryMaster"}, {XMLID: "ID2", SystemID: "o2", Group: "G1", GroupID: "g1", Usage: "PhysicalMaster", Physical: true},
					{XMLID: "ID3", SystemID: "o3"}}),
				Units: slices.Values([]Given{{XMLID: "U1", SystemID: "u1"}}), Events: []Event{{Code: "ARCHIVE", Time: when, Outcome: OutcomeOK}}},
			"refused": {Version: v, Identifier: "p2", Date: when, Code: OutcomeKO, Events: EventsOf(&fs, when)},
		} {
			var b bytes.Buffer
			if err := r.Write(&b); err != nil {
				t.Fatal(err)
			}
			docs[name] = b.Bytes()
			if _, found := schemaFindings(t, b.Bytes(), Strict); len(found.List) > 0 {
				t.Errorf("%s %s: %v\n%s", name, v, found.List, b.Bytes())
			}
		}
		if _, err := os.Stat(filepath.Join(samples, "xsd")); err != nil {
			continue
		}
		for name, err := range xmllint(t, v, docs) {
			t.Errorf("%s %s: %v", name, v, err)
		}
	}
}

// FuzzMessage: whatever is read as a message, what is read of it can be written again.
func FuzzMessage(f *testing.F) {
	for _, name := range messages {
		if others[name] == "" && name != "Acknowledgement" {
			continue
		}
		var b bytes.Buffer
		if err := aMessage(name, V23).Write(&b); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		var fs Findings
		m, err := ReadMessage(bytes.NewReader(doc), Tolerant, &fs)
		if err != nil {
			t.Fatal(err)
		}
		if fs.Refused() || m.Name == "ArchiveTransfer" {
			return
		}
		var b bytes.Buffer
		if err := m.Write(&b); err != nil {
			t.Fatalf("%q: %v", doc, err)
		}
	})
}
