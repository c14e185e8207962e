package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
)

const recordingsPath = "Recordings"

type recordingsCommand struct {
	List     recordingsListCommand     `cmd:"" help:"List recordings, newest first."`
	Fetch    recordingsFetchCommand    `cmd:"" help:"Show a recording."`
	Download recordingsDownloadCommand `cmd:"" help:"Save what was recorded as a WAV or MP3 file."`
	Delete   recordingsDeleteCommand   `cmd:"" help:"Delete a recording that has ended."`
}

func (recordingsCommand) Help() string {
	return `Calls are recorded when their application asks for it, by the API or in TwiML.

    offhook recordings list
    offhook recordings download RE0123456789abcdef0123456789abcdef`
}

var (
	recordingColumns = []column{
		{title: "sid", field: "sid"}, {title: "call", field: "call_sid"}, {title: "conference", field: "conference_sid"},
		{title: "status", field: "status"}, {title: "error", field: "error_code"}, {title: "source", field: "source"},
		{title: "channels", field: "channels"}, {title: "seconds", field: "duration"},
		{title: "started", field: "start_time", form: shortTime}, {title: "created", field: "date_created", form: shortTime},
		{title: "price", field: "price"}, {title: "url", field: "media_url"},
	}
	listedRecordingColumns = []column{
		{title: "sid", field: "sid"}, {title: "call", field: "call_sid"}, {title: "status", field: "status"},
		{title: "source", field: "source"}, {title: "channels", field: "channels"}, {title: "seconds", field: "duration"},
		{title: "created", field: "date_created", form: shortTime},
	}
)

type recordingsListCommand struct {
	Call          string `name:"call" placeholder:"CA…" help:"Only those of a call."`
	CreatedAfter  string `name:"created-after" placeholder:"DATE" help:"Made on that day (UTC, YYYY-MM-DD) or later."`
	CreatedBefore string `name:"created-before" placeholder:"DATE" help:"Made before that day."`
	Deleted       bool   `name:"deleted" help:"Those that were deleted in the last 40 days too."`
	Limit         atMost `name:"limit" default:"50" placeholder:"N" help:"At most so many (default ${default})."`
	output
	remote
}

func (recordingsListCommand) Help() string {
	return `Filters combine.

    offhook recordings list --call CA0123456789abcdef0123456789abcdef
    offhook recordings list --created-after 2026-01-31 -o tsv`
}

func (c *recordingsListCommand) Run(ctx context.Context, a *app) error {
	client, err := c.connect(a)
	if err != nil {
		return err
	}
	filter := url.Values{}
	set(filter, "CallSid", c.Call)
	set(filter, "DateCreated>", c.CreatedAfter)
	set(filter, "DateCreated<", c.CreatedBefore)
	if c.Deleted {
		filter.Set("IncludeSoftDeleted", "true")
	}
	list, err := client.List(ctx, recordingsPath, "recordings", filter, int(c.Limit))
	if err != nil {
		return err
	}
	return c.list(a.out, listedRecordingColumns, list)
}

type recordingsFetchCommand struct {
	SID string `arg:"" name:"sid" help:"The recording, RE…"`
	output
	remote
}

func (recordingsFetchCommand) Help() string {
	return `What was recorded is at its URL, for whoever has the account's credentials.

    offhook recordings fetch RE0123456789abcdef0123456789abcdef`
}

func (c *recordingsFetchCommand) Run(ctx context.Context, a *app) error {
	client, err := c.connect(a)
	if err != nil {
		return err
	}
	r, err := client.Fetch(ctx, recordingsPath, c.SID)
	if err != nil {
		return err
	}
	return c.one(a.out, recordingColumns, r)
}

type recordingsDownloadCommand struct {
	SID      string `arg:"" name:"sid" help:"The recording, RE…"`
	To       string `name:"to" placeholder:"FILE" help:"Where to save it, - for stdout (default RE….wav here)."`
	Format   string `name:"format" enum:"wav,mp3" default:"wav" placeholder:"wav|mp3" help:"Format; mp3 needs lame on the server (default ${default})."`
	Channels int    `name:"channels" enum:"0,1,2" default:"0" placeholder:"1|2" help:"Two channels as one, or two or nothing (default: as recorded)."`
	remote
}

func (recordingsDownloadCommand) Help() string {
	return `A file that is there is not overwritten.

    offhook recordings download RE0123456789abcdef0123456789abcdef
    offhook recordings download RE0123456789abcdef0123456789abcdef --format mp3 --to call.mp3`
}

func (c *recordingsDownloadCommand) Run(ctx context.Context, a *app) (err error) {
	client, err := c.connect(a)
	if err != nil {
		return err
	}
	query := url.Values{}
	if c.Channels > 0 {
		query.Set("RequestedChannels", strconv.Itoa(c.Channels))
	}
	audio, err := client.Download(ctx, recordingsPath, c.SID+"."+c.Format, query)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, audio.Close()) }()
	if c.To == "-" {
		_, err := io.Copy(a.out, audio)
		return err
	}
	name := c.To
	if name == "" {
		name = filepath.Base(c.SID) + "." + c.Format
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, audio)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(fmt.Errorf("download %s: %w", c.SID, err), os.Remove(name))
	}
	fmt.Fprintf(a.out, "%s (%d bytes)\n", name, n)
	return nil
}

type recordingsDeleteCommand struct {
	SID string `arg:"" name:"sid" help:"The recording, RE…"`
	remote
}

func (recordingsDeleteCommand) Help() string {
	return `The audio goes at once; the list shows it with --deleted for 40 days. One that runs is refused.

    offhook recordings delete RE0123456789abcdef0123456789abcdef`
}

func (c *recordingsDeleteCommand) Run(ctx context.Context, a *app) error {
	client, err := c.connect(a)
	if err != nil {
		return err
	}
	return client.Delete(ctx, recordingsPath, c.SID)
}
