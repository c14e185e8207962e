package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/offhook/offhook/internal/call"
	"github.com/offhook/offhook/internal/twilio"
)

// accountFile is the name of the credentials file in the data folder. Its mode is 0600, and a
// .gitignore beside it keeps the whole folder out of version control.
const accountFile = "account.json"

// Account is the first account's credentials and where its server listens, as kept in the data
// folder: how the command line and `offhook env` find a server without being told.
type Account struct {
	SID       string `json:"accountSid"`
	AuthToken string `json:"authToken"`
	URL       string `json:"url,omitempty"` // base URL of the server that last ran on this folder
}

// ReadAccount reads the account of the data folder dir. The error is fs.ErrNotExist when no server ever ran there.
func ReadAccount(dir string) (Account, error) {
	name := filepath.Join(dir, accountFile)
	b, err := os.ReadFile(name)
	if err != nil {
		return Account{}, err
	}
	var a Account
	if err := json.Unmarshal(b, &a); err != nil {
		return Account{}, fmt.Errorf("%s is damaged (%w): restore it, or delete it to have new credentials made", name, err)
	}
	if !twilio.IsSID(a.SID, twilio.AccountPrefix) || a.AuthToken == "" {
		return Account{}, fmt.Errorf("%s lacks accountSid or authToken: restore it, or delete it to have new credentials made", name)
	}
	return a, nil
}

// EnsureAccount makes the data folder and its account when they are missing and returns the account.
// sid and token, when given, take the place of what is kept there; else they are generated once.
func EnsureAccount(dir, sid, token string) (Account, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Account{}, fmt.Errorf("make the data folder: %w", err)
	}
	ignore := filepath.Join(dir, ".gitignore")
	if _, err := os.Stat(ignore); errors.Is(err, fs.ErrNotExist) {
		if err := os.WriteFile(ignore, []byte("*\n"), 0o600); err != nil {
			return Account{}, err
		}
	}
	a, err := ReadAccount(dir)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return Account{}, err
	case sid != "" && (a.SID != sid || a.AuthToken != token):
		a.SID, a.AuthToken = sid, token
	case err == nil:
		return a, nil
	default:
		a = Account{SID: twilio.NewSID(twilio.AccountPrefix), AuthToken: call.NewSecret()}
	}
	return a, writeAccount(dir, a)
}

// SaveURL notes in dir the base URL under which the server of account a now answers.
func (a Account) SaveURL(dir, url string) error {
	if a.URL == url {
		return nil
	}
	a.URL = url
	return writeAccount(dir, a)
}

// writeAccount replaces the file in one step, so that a reader never sees half of it.
func writeAccount(dir string, a Account) error {
	b, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, accountFile+".*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, accountFile))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
