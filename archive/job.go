package archive

import (
	"bytes"
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sae/archive/vault"
)

// A job is a deposit that was received whole and is worked off later. Its body lies in a file of the
// folder of jobs, enciphered under a key of its own; its row has that key, wrapped under a data key that
// all jobs share, and what was asked for, enciphered. The row says how far it is. When a job has ended
// both body and key go; of one that was archived nothing stays but identifiers.
//
// The shared data key is drawn anew whenever keys are destroyed (rekey): what was erased does not come
// back by an old copy of a body from which it was archived.
//
// Rows are of this machine, as bodies are: they are not written to the offers, so that a job is accepted
// also while these are down. The row of one that was archived is: it is written in the transaction of
// the deposit, so that a crash leaves both or neither.

// JobState is how far a job is.
type JobState string

// The states. The last three are ends.
const (
	JobReceiving JobState = "receiving" // its body is not whole yet
	JobReceived  JobState = "received"
	JobRunning   JobState = "running"
	JobDelayed   JobState = "delayed" // it failed for now, and is tried again
	JobArchived  JobState = "archived"
	JobRefused   JobState = "refused"
	JobCancelled JobState = "cancelled"
)

// ended reports whether nothing more is done for a job.
func (s JobState) ended() bool { return s == JobArchived || s == JobRefused || s == JobCancelled }

// Job is what is known of a job without a key: it names nobody.
type Job struct {
	ID       string     `json:"id"`
	Tenant   string     `json:"tenant"`
	Agent    string     `json:"agent"` // pseudonym of who asked for it
	Kind     string     `json:"kind"`
	State    JobState   `json:"state"`
	Received time.Time  `json:"received"`
	Size     int64      `json:"size"`            // of its body in the folder, enciphered
	Entry    *int64     `json:"entry,omitempty"` // of the ledger, when it was archived
	Events   []JobEvent `json:"events"`
	// Upload is said when the body comes, or came, piece by piece.
	Upload *JobUpload `json:"upload,omitempty"`
	// Retry is when it is tried again, of one that is delayed.
	Retry *time.Time `json:"retry,omitempty"`
}

// JobEvent is a step of a job.
type JobEvent struct {
	Time  time.Time `json:"time"`
	State JobState  `json:"state"`
	Code  string    `json:"code,omitempty"` // why
}

// maxJobEvents bounds those that are kept: the first and the last ones.
const maxJobEvents = 32

// add adds a step.
func (j *Job) add(state JobState, code string) {
	j.State = state
	j.Events = append(j.Events, JobEvent{now(), state, code})
	if len(j.Events) > maxJobEvents {
		j.Events = slices.Delete(j.Events, 1, 2)
	}
}

// jobRecord is a row; its secret is a salt and a JobRequest, until the job has ended.
type jobRecord struct {
	Job
	Key     []byte `json:"key,omitempty"` // of body and answer, wrapped; absent when they went
	Request []byte `json:"request"`       // keyed hash, which tells it from others of the same identifier
}

// JobRequest is what was asked for. It is kept enciphered.
type JobRequest struct {
	Agent string          `json:"agent"` // name
	Key   string          `json:"key"`   // of Once, under which it takes place
	Said  json.RawMessage `json:"said,omitempty"`
}

// NewJob says what a job is to be.
type NewJob struct {
	ID     string // see JobID
	Tenant string
	Kind   string
	JobRequest
	// Fingerprint tells the request from others of the same identifier.
	Fingerprint []byte
	Upload      *JobUpload // of one whose body comes piece by piece (BeginJob)
}

const (
	jobID  = "j"
	jobDir = "jobs"

	// jobKeyNumber is the data key under which keys of jobs are wrapped: the last that there can be, so
	// that those of records never come to it.
	jobKeyNumber = vault.MaxKeys - 1

	// KeepJob is how long it is told what became of a job.
	KeepJob = 30 * 24 * time.Hour
)

// The names of files of the folder of jobs begin with the identifier of the job, and end so.
const (
	bodyFile   = ".body"
	answerFile = ".answer"
)

var (
	jobBodyAD   = []byte("sae job body 1")
	jobAnswerAD = []byte("sae job answer 1")
)

// ErrBegun: the job was begun, or has ended.
var ErrBegun = errors.New("it was begun, or has ended")

// ErrBodyLost: the body of a job is not there any more, or its key.
var ErrBodyLost = errors.New("the body is not there any more")

// JobID gives the identifier of the job that agent names by a key: the same each time.
func (a *Archive) JobID(agent, tenant, key string) string {
	return jobIDOf([16]byte(keyedHash(a.indexKey, "job", tenant, agent, key)))
}

// NewJobID gives an identifier for a job that no key names.
func NewJobID() string {
	var b [16]byte
	rand.Read(b[:])
	return jobIDOf(b)
}

// jobIDOf has 128 bits, not 130: so it goes into the identifiers of other systems.
func jobIDOf(b [16]byte) string {
	return jobID + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}

func (a *Archive) jobPath(id, what string) string { return filepath.Join(a.dir, jobDir, id+what) }

// jobRow and jobListRow are keys of the bucket: the row of a job, and its place in the list of those of
// its tenant, by time.
func jobRow(id string) []byte { return []byte("r" + id) }

func jobListRow(tenant string, received time.Time, id string) []byte {
	return append(append(jobListPrefix(tenant), be64(uint64(received.UnixMilli()))...), id...)
}

func jobListPrefix(tenant string) []byte { return append([]byte("l"+tenant), 0) }

// encode gives the stored form; without a secret nothing is enciphered.
func (r *jobRecord) encode(key [32]byte, secret []byte) []byte {
	if secret == nil {
		return append(mustJSON(r), '\n')
	}
	return encodeRecord(r, key, secret)
}

// readJob reads a row, and its key and secret when it has them.
func (a *Archive) readJob(t *tx, id string) (r *jobRecord, key [32]byte, secret []byte, err error) {
	r, s, err := t.jobRecord(id)
	if err != nil || r.Key == nil {
		return r, key, nil, err
	}
	under, err := a.jobKey(t)
	if err == nil {
		key, secret, err = r.open(under, s)
	}
	if err != nil {
		return nil, key, nil, damaged("job", id, err)
	}
	return r, key, secret, nil
}

func (t *tx) jobRecord(id string) (*jobRecord, sealed, error) {
	v, err := t.get(bktJob, jobRow(id))
	if err == nil && v == nil {
		err = fmt.Errorf("operation %q: %w", id, ErrNotFound)
	}
	if err != nil {
		return nil, sealed{}, err
	}
	r := &jobRecord{}
	s, err := decodeRecord(v, r)
	if err != nil {
		err = damaged("job", id, err)
	}
	return r, s, err
}

// Job tells of a job.
func (a *Archive) Job(id string) (j *Job, err error) {
	if err := a.knows("operation", id); err != nil {
		return nil, err
	}
	err = a.cat.view(func(t *tx) error {
		r, _, err := t.jobRecord(id)
		if err == nil {
			j = &r.Job
		}
		return err
	})
	return j, err
}

// JobFilter chooses jobs of a tenant.
type JobFilter struct {
	Tenant string
	Agent  string // whose, a pseudonym; all when empty
	After  string // the job that was told last
	Limit  int
}

// Jobs are those that were received whole, in the order of their coming.
func (a *Archive) Jobs(f JobFilter) (out []*Job, more bool, err error) {
	of, err := a.tenant(f.Tenant)
	if err != nil {
		return nil, false, err
	}
	out = []*Job{}
	err = a.cat.view(func(t *tx) error {
		from := jobListPrefix(of.ID)
		end := prefixEnd(from)
		if f.After != "" {
			r, _, err := t.jobRecord(f.After)
			if err == nil && r.Tenant != of.ID {
				err = fmt.Errorf("operation %q: %w", f.After, ErrNotFound)
			}
			if err != nil {
				return err
			}
			from = append(jobListRow(r.Tenant, r.Received, r.ID), 0)
		}
		return t.scan(bktJob, from, end, func(k, _ []byte) (bool, error) {
			r, _, err := t.jobRecord(string(k[len(k)-idSize:]))
			if err != nil || f.Agent != "" && r.Agent != f.Agent || r.State == JobReceiving {
				return err == nil, err
			}
			if more = len(out) == f.Limit; !more {
				out = append(out, &r.Job)
			}
			return !more, nil
		})
	})
	return out, more, err
}

// AcceptJob makes a job of a body. When it returns nil the job is durable, and is worked off. One that
// there is already under the identifier is given instead, with was, and the body removed; when another
// was asked for under it the error matches ErrOtherRequest.
func (a *Archive) AcceptJob(n NewJob, b *JobBody) (j *Job, was bool, err error) {
	defer func() {
		var uncertain *commitError // then reopening tells
		if was || err != nil && !errors.As(err, &uncertain) {
			b.Discard()
		}
	}()
	return a.insertJob(n, JobReceived, b.key, b.Size, func() error {
		// A crash here leaves a body without a row.
		if err := os.Rename(b.file, a.jobPath(n.ID, bodyFile)); err != nil {
			return err
		}
		b.file = a.jobPath(n.ID, bodyFile)
		return a.fs.SyncDir(filepath.Dir(b.file))
	})
}

// BeginJob makes the row of a job whose body is not there yet: who brings it writes it to the file, in
// the form of the package stream under its key (see JobKey), or piece by piece (OpenUpload), and then
// calls CompleteJob.
func (a *Archive) BeginJob(n NewJob) (j *Job, was bool, err error) {
	return a.insertJob(n, JobReceiving, newKey(), 0, func() error { return a.fs.MkdirAll(filepath.Join(a.dir, jobDir), 0o700) })
}

// insertJob inserts a row when there is none of its identifier, after place.
func (a *Archive) insertJob(n NewJob, state JobState, key [32]byte, size int64, place func() error) (j *Job, was bool, err error) {
	of, err := a.tenant(n.Tenant)
	if err != nil {
		return nil, false, err
	}
	if !idForm.MatchString(n.ID) || n.ID[:1] != jobID {
		return nil, false, fmt.Errorf("%q is no identifier of a job", n.ID)
	}
	if err := a.makeJobKey(); err != nil {
		return nil, false, err
	}
	request := keyedHash(a.indexKey, "request", string(n.Fingerprint))
	salt := newSalt()
	err = a.changeJobs(func(t *tx) error {
		r, _, err := t.jobRecord(n.ID)
		if err == nil {
			if was, j = true, &r.Job; !bytes.Equal(r.Request, request) {
				err = ErrOtherRequest
			}
			return err
		}
		if !errors.Is(err, ErrNotFound) {
			return err
		}
		under, err := a.jobKey(t)
		if err != nil {
			return err
		}
		if err := place(); err != nil {
			return err
		}
		r = &jobRecord{Job: Job{ID: n.ID, Tenant: of.ID, Agent: agentID(a.indexKey, n.Agent), Kind: n.Kind, Received: now(), Size: size, Upload: n.Upload}, Request: request}
		r.add(state, "")
		r.wrap(under, key)
		j = &r.Job
		if err := t.put(bktJob, jobListRow(r.Tenant, r.Received, r.ID), nil); err != nil {
			return err
		}
		return t.put(bktJob, jobRow(r.ID), r.encode(key, append(salt[:], mustJSON(n.JobRequest)...)))
	})
	if err != nil {
		return nil, was, fmt.Errorf("accepting a job: %w", err)
	}
	return j, was, nil
}
