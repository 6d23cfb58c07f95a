// Makes passkeys, and signs in with them. Everything else on these pages works without a script.
'use strict';
(() => {
  const octets = (text) =>
    Uint8Array.from(atob(text.replace(/-/g, '+').replace(/_/g, '/')), (letter) => letter.charCodeAt(0));
  const text = (octets) =>
    btoa(String.fromCharCode(...new Uint8Array(octets))).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
  const send = (form, fields) => {
    for (const [name, value] of Object.entries(fields)) form.elements[name].value = value;
    form.submit();
  };
  // What a person closes, or lets time out, is no mishap.
  const isCancelled = (error) => error.name === 'NotAllowedError' || error.name === 'AbortError';
  const say = (form, words) => {
    const place = form.querySelector('.bad');
    place.textContent = words;
    place.hidden = false;
  };
  if (!window.PublicKeyCredential || !navigator.credentials) return;

  const signIn = document.getElementById('passkey');
  if (signIn) {
    signIn.hidden = false;
    const { challenge, rp } = signIn.dataset;
    const publicKey = { challenge: octets(challenge), rpId: rp, userVerification: 'required', allowCredentials: [] };
    const take = ({ id, response }) =>
      send(signIn, {
        credential: id,
        client_data: text(response.clientDataJSON),
        authenticator_data: text(response.authenticatorData),
        signature: text(response.signature),
        user_handle: response.userHandle ? text(response.userHandle) : '',
      });
    let waiting = new AbortController();
    signIn.querySelector('button').addEventListener('click', async () => {
      waiting.abort();
      waiting = new AbortController();
      try {
        take(await navigator.credentials.get({ publicKey, signal: waiting.signal }));
      } catch (error) {
        if (!isCancelled(error)) say(signIn, 'Your browser could not use a passkey here.');
      }
    });
    // Passkeys among what the browser offers for the field of the user name.
    (async () => {
      if (!('offered' in signIn.dataset) || !(await PublicKeyCredential.isConditionalMediationAvailable?.())) return;
      try {
        take(await navigator.credentials.get({ publicKey, mediation: 'conditional', signal: waiting.signal }));
      } catch {
        // Nobody has asked for it, so nobody is told.
      }
    })();
  }

  const make = document.getElementById('new-passkey');
  if (make) {
    make.hidden = false;
    make.addEventListener('submit', async (event) => {
      event.preventDefault();
      const { challenge, rp, user, name, shown, algs, known } = make.dataset;
      const publicKey = {
        challenge: octets(challenge),
        rp: { id: rp, name: rp },
        user: { id: octets(user), name, displayName: shown },
        pubKeyCredParams: algs.split(' ').map((alg) => ({ type: 'public-key', alg: Number(alg) })),
        authenticatorSelection: { residentKey: 'required', requireResidentKey: true, userVerification: 'required' },
        attestation: 'none',
        excludeCredentials: known.split(' ').filter(Boolean).map((id) => ({ type: 'public-key', id: octets(id) })),
      };
      try {
        const { response } = await navigator.credentials.create({ publicKey });
        send(make, {
          client_data: text(response.clientDataJSON),
          attestation_object: text(response.attestationObject),
        });
      } catch (error) {
        if (error.name === 'InvalidStateError') say(make, 'This device has a passkey of yours already.');
        else if (isCancelled(error)) say(make, 'No passkey was made.');
        else say(make, 'Your browser could not make a passkey here.');
      }
    });
  }
})();
