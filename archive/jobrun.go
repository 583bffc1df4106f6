package archive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"sae/archive/stream"
)

// RunningJob is a job that is being worked off, by one at a time. What is done within its Context, as
// one operation, is in the catalogue together with the end of the job.
type RunningJob struct {
	Job
	Request JobRequest

	a     *Archive
	key   [32]byte
	print []byte // jobRecord.Request
}

// changeJob changes the row of a job. f gets the key and the secret, when it has them; with keep they
// stay, else they go.
func (a *Archive) changeJob(id string, f func(r *jobRecord, key [32]byte, secret []byte) (keep bool, err error)) (j *Job, err error) {
	err = a.changeJobs(func(t *tx) error {
		r, key, secret, err := a.readJob(t, id)
		if err != nil {
			return err
		}
		keep, err := f(r, key, secret)
		if err != nil {
			return err
		}
		if !keep {
			r.Key, secret = nil, nil
		}
		j = &r.Job
		return t.put(bktJob, jobRow(id), r.encode(key, secret))
	})
	return j, err
}

// StartJob begins a job that waits. To one that does not the error matches ErrBegun, to one whose body
// or key is gone ErrBodyLost.
func (a *Archive) StartJob(id string) (*RunningJob, error) {
	if err := a.knows("operation", id); err != nil {
		return nil, err
	}
	run := &RunningJob{a: a}
	j, err := a.changeJob(id, func(r *jobRecord, key [32]byte, secret []byte) (bool, error) {
		if r.State != JobReceived && r.State != JobDelayed {
			return false, ErrBegun
		}
		if r.Key == nil {
			return false, ErrBodyLost
		}
		r.Retry = nil
		r.add(JobRunning, "")
		run.key, run.print = key, r.Request
		return true, json.Unmarshal(secret[saltSize:], &run.Request)
	})
	if err != nil {
		return nil, fmt.Errorf("beginning a job: %w", err)
	}
	run.Job = *j
	return run, nil
}

type jobContextKey struct{}

// Context is that in which the deposit of a job takes place.
func (r *RunningJob) Context(ctx context.Context) context.Context {
	return context.WithValue(ctx, jobContextKey{}, r)
}

// jobOf is the job of a context; nil for none.
func jobOf(ctx context.Context) *RunningJob {
	r, _ := ctx.Value(jobContextKey{}).(*RunningJob)
	return r
}

// remember makes an operation write the end of the job.
func (r *RunningJob) remember(op *operation) {
	op.records = append(op.records, func(p position) []record {
		row := jobRecord{Job: r.Job, Request: r.print}
		row.Events = slices.Clone(r.Events)
		row.Entry = &p.entry
		row.add(JobArchived, "")
		return []record{{bktJob, jobRow(r.ID), row.encode([32]byte{}, nil)}, {bktJob, jobListRow(r.Tenant, r.Received, r.ID), nil}}
	})
}

// Body opens the body. It is of random access, and is to be closed.
func (r *RunningJob) Body() (*JobReader, error) {
	if r.Upload != nil {
		return openUpload(r.a.jobPath(r.ID, bodyFile), r.key, r.Upload.Length)
	}
	return openJobFile(r.a.jobPath(r.ID, bodyFile), r.key, jobBodyAD)
}

// JobReader reads a file of a job.
type JobReader struct {
	jobContent
	f *os.File
}

// jobContent is what a file of a job has, of random access.
type jobContent interface {
	io.Reader
	io.ReaderAt
	Size() int64
}

// Close lets go of the file.
func (r *JobReader) Close() error { return r.f.Close() }

func openJobFile(path string, key [32]byte, ad []byte) (*JobReader, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrBodyLost
	}
	if err != nil {
		return nil, fmt.Errorf("opening a file of a job: %w", err)
	}
	fi, err := f.Stat()
	var r *stream.Reader
	if err == nil {
		r, err = stream.NewReader(key, ad, stream.Source{Name: path, ReaderAt: f, Size: fi.Size()})
	}
	if err != nil {
		return nil, errors.Join(damaged("file of a job", path, err), f.Close())
	}
	return &JobReader{r, f}, nil
}

// Archived ends a job by the ledger entry of the deposit that it became. When the deposit took place in
// the Context of the job it has ended already: what is left to do is to remove its body.
func (r *RunningJob) Archived(entry int64) error {
	_, err := r.a.changeJob(r.ID, func(row *jobRecord, _ [32]byte, _ []byte) (bool, error) {
		if row.State != JobArchived {
			row.Entry = &entry
			row.add(JobArchived, "")
		}
		return false, nil
	})
	if err != nil {
		return fmt.Errorf("ending a job: %w", err)
	}
	// A crash here leaves a body that nothing opens, and that is swept.
	return r.a.removeBody(r.ID)
}

// Refused ends a job with an answer, which is kept enciphered as long as the job.
func (r *RunningJob) Refused(code string, answer []byte) error {
	err := r.a.writeAnswer(r.ID, r.key, answer)
	if err == nil {
		// A crash here leaves an answer of a job that runs: it is begun anew.
		_, err = r.a.changeJob(r.ID, func(row *jobRecord, _ [32]byte, secret []byte) (bool, error) {
			row.add(JobRefused, code)
			return true, nil
		})
	}
	if err != nil {
		return fmt.Errorf("ending a job: %w", err)
	}
	return r.a.removeBody(r.ID)
}

// Delayed leaves a job for a later time.
func (r *RunningJob) Delayed(code string, until time.Time) error {
	_, err := r.a.changeJob(r.ID, func(row *jobRecord, _ [32]byte, _ []byte) (bool, error) {
		row.Retry = &until
		row.add(JobDelayed, code)
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("delaying a job: %w", err)
	}
	return nil
}

// CancelJob ends a job that was not begun. When it returns nil its body does not open any more.
func (a *Archive) CancelJob(id string) (*Job, error) {
	if err := a.knows("operation", id); err != nil {
		return nil, err
	}
	j, err := a.changeJob(id, func(r *jobRecord, _ [32]byte, _ []byte) (bool, error) {
		if r.State.ended() || r.State == JobRunning {
			return false, ErrBegun
		}
		r.Retry = nil
		r.add(JobCancelled, "")
		return false, nil
	})
	if err == nil {
		err = a.removeBody(id)
	}
	if err != nil {
		return nil, fmt.Errorf("cancelling: %w", err)
	}
	return j, nil
}

// LoseJob ends a job whose body or key is gone.
func (a *Archive) LoseJob(id string) error {
	if err := a.knows("operation", id); err != nil {
		return err
	}
	_, err := a.changeJob(id, func(r *jobRecord, _ [32]byte, _ []byte) (bool, error) {
		if r.State.ended() {
			return false, ErrBegun
		}
		r.add(JobRefused, CodeBodyLost)
		return false, nil
	})
	if err != nil {
		return fmt.Errorf("ending a job: %w", err)
	}
	return a.removeBody(id)
}

// JobKey gives the key under which the body of a job that is being received is written, its associated
// data, and the file.
func (a *Archive) JobKey(id string) (key [32]byte, ad []byte, file string, said JobRequest, err error) {
	if err := a.knows("operation", id); err != nil {
		return key, nil, "", said, err
	}
	err = a.cat.view(func(t *tx) error {
		r, own, secret, err := a.readJob(t, id)
		if err == nil && r.State != JobReceiving {
			err = ErrBegun
		}
		if err != nil {
			return err
		}
		key = own
		return json.Unmarshal(secret[saltSize:], &said)
	})
	return key, jobBodyAD, a.jobPath(id, bodyFile), said, err
}

// CompleteJob lets a job be worked off whose body is whole and durable; was says that it was completed
// before. said, when it is not nil, is what is asked for from now on.
func (a *Archive) CompleteJob(id string, said *JobRequest) (j *Job, was bool, err error) {
	if err := a.knows("operation", id); err != nil {
		return nil, false, err
	}
	j = &Job{}
	err = a.changeJobs(func(t *tx) error {
		r, key, secret, err := a.readJob(t, id)
		if err != nil {
			return err
		}
		if *j = r.Job; r.State != JobReceiving {
			was = true
			return nil
		}
		fi, err := os.Stat(a.jobPath(id, bodyFile))
		if err != nil {
			return err
		}
		if said != nil {
			secret = append(secret[:saltSize], mustJSON(said)...)
		}
		if err := t.delete(bktJob, jobListRow(r.Tenant, r.Received, r.ID)); err != nil {
			return err
		}
		r.Size, r.Received = fi.Size(), now()
		r.add(JobReceived, "")
		*j = r.Job
		if err := t.put(bktJob, jobListRow(r.Tenant, r.Received, r.ID), nil); err != nil {
			return err
		}
		return t.put(bktJob, jobRow(id), r.encode(key, secret))
	})
	if err != nil {
		return nil, false, fmt.Errorf("completing a body: %w", err)
	}
	return j, was, nil
}

func (a *Archive) removeBody(id string) error { return a.removeJobFile(id + bodyFile) }

func (a *Archive) removeJobFile(name string) error {
	if err := a.fs.Remove(filepath.Join(a.dir, jobDir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing a file of a job: %w", err)
	}
	return nil
}

// writeAnswer keeps the answer to a job, enciphered.
func (a *Archive) writeAnswer(id string, key [32]byte, answer []byte) error {
	if err := a.removeJobFile(id + answerFile); err != nil { // of a run that a crash ended
		return err
	}
	f, err := a.fs.Create(a.jobPath(id, answerFile), 0o600)
	if err != nil {
		return err
	}
	w, err := stream.NewWriter(f, key, jobAnswerAD)
	if err == nil {
		_, err = w.Write(answer)
	}
	if err == nil {
		err = w.Close()
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// JobAnswer gives the answer to a job that was refused.
func (a *Archive) JobAnswer(id string) (answer []byte, err error) {
	if err := a.knows("operation", id); err != nil {
		return nil, err
	}
	var key [32]byte
	err = a.cat.view(func(t *tx) error {
		r, own, _, err := a.readJob(t, id)
		if err == nil && (r.State != JobRefused || r.Key == nil) {
			err = fmt.Errorf("answer to operation %q: %w", id, ErrNotFound)
		}
		key = own
		return err
	})
	if err != nil {
		return nil, err
	}
	f, err := openJobFile(a.jobPath(id, answerFile), key, jobAnswerAD)
	if errors.Is(err, ErrBodyLost) {
		err = fmt.Errorf("answer to operation %q: %w", id, ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}
