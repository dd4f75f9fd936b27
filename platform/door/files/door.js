// The rights of a request. nginx runs `authorize` before it passes a request on.
//
// `access` is access.json: {"sign_on": URL, "provider": bool, "users": {name: role}, "groups": {group: role},
// "areas": {area: {role: true}}, "models": {model: "private", "team" or "public"}, "owners": {model: team}, "teams": null or
// {"names": {team: true}, "people": {name: teams}, "groups": {group: teams}}}. `tokens` is tokens.json: the SHA-256 of a token to
// {"id", "team", "for": {"model:NAME" or area: true}, "role", "expires": seconds since 1970}. Both are objects outside of
// JavaScript, whose lists have no methods. Several teams are one text, separated by commas.

import crypto from 'crypto';
import fs from 'fs';

const IDENTITY = /^[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}$/;
const ROLES = ['administrator', 'editor', 'reader'];
const TOKEN = /^Bearer (mlp_[A-Za-z0-9_-]{43})$/;
const SHARED = '*';
const OWN_HEADERS = ['connection', 'content-length', 'date', 'location', 'server', 'transfer-encoding'];
const CHANGES = ['POST', 'PUT', 'PATCH', 'DELETE'];
const NOTEBOOKS = /^\/notebooks\/(?:hub|user\/([^/]+))(?:\/|$)/;
const NOTEBOOK_COOKIE = /^(jupyterhub-[A-Za-z0-9._@%+-]+|_xsrf)=/;

// Return "1" for a change, or for the connection of a kernel, that a page of another site requests with the browser's session.
function foreign(r) {
    if (CHANGES.indexOf(r.method) < 0 && !r.headersIn.Upgrade) {
        return '';
    }
    const site = r.headersIn['Sec-Fetch-Site'];
    if (site && site !== 'same-origin' && site !== 'none') {
        return '1';
    }
    const origin = r.headersIn.Origin;
    return origin && origin !== `https://${r.headersIn.Host}` ? '1' : '';
}

// Answer a step of the sign-on with the reply of oauth2-proxy, and note the person for the log.
async function sign_on(r) {
    const reply = await r.subrequest('/door/sign-on-step', {method: r.method});
    const cookies = reply.headersOut['Set-Cookie'] || [];
    if (reply.status === 302 && cookies.length) {
        const caller = await session(cookies.map((each) => each.split(';')[0]).join('; '));
        r.variables.signed_on = caller ? caller.user : '';
    }
    for (const name in reply.headersOut) {
        if (OWN_HEADERS.indexOf(name.toLowerCase()) < 0) {
            r.headersOut[name] = reply.headersOut[name];
        }
    }
    r.return(reply.status, reply.headersOut.Location || reply.responseText);
}

// Note the person for the log, then end the session.
async function sign_out(r) {
    const caller = r.variables.http_cookie ? await session(r.variables.http_cookie) : null;
    r.variables.signed_on = caller ? caller.user : '';
    r.internalRedirect('@sign_out');
}

async function authorize(r) {
    const area = r.variables.area, model = r.variables.model;
    if (area === 'model' && access.models[model] === 'public') {
        r.return(200);
        return;
    }
    // JupyterLab sends a token of the hub, which says nothing at the door.
    const authorization = area === 'notebooks' ? '' : r.variables.http_authorization;
    const caller = authorization ? byToken(authorization, area, model) : await bySession(r, area);
    // The log has the caller of a denied request, too.
    r.headersOut['X-Door-Caller'] = caller.user || '';
    r.headersOut['X-Door-Caller-Team'] = caller.team || '';
    if (caller.status === 200) {
        r.headersOut['X-Door-User'] = caller.user;
        r.headersOut['X-Door-Role'] = caller.role;
        r.headersOut['X-Door-Teams'] = caller.teams;
    }
    r.return(caller.status);
}

// Return the digest of the token of a request, "" without a valid one. nginx limits the rates of callers before it runs
// `authorize`.
function valid_token(r) {
    const digest = digestOf(r.variables.http_authorization);
    return grantOf(digest) ? digest : '';
}

function digestOf(authorization) {
    const match = TOKEN.exec(authorization);
    return match ? crypto.createHash('sha256').update(match[1]).digest('hex') : '';
}

function grantOf(digest) {
    const grant = tokens[digest];
    return grant && grant.expires > Date.now() / 1000 ? grant : null;
}

function byToken(authorization, area, model) {
    const grant = grantOf(digestOf(authorization));
    if (!grant) {
        return {status: 401};
    }
    const opens = grant.for[area === 'model' ? `model:${model}` : area];
    const status = opens && permitsTeam(grant.team, access.owners[model]) ? 200 : 403;
    return {status: status, user: `token.${grant.id}`, role: grant.role, teams: header([grant.team]), team: grant.team};
}

// Permit the team of a token what is shared and what it owns. The settings may have changed since the token was made.
function permitsTeam(team, owner) {
    return !access.teams || (access.teams.names[team] && (!owner || owner === team));
}

async function bySession(r, area) {
    const cookie = r.variables.http_cookie;
    if (!cookie) {
        return {status: 401};
    }
    const caller = await session(cookie);
    if (!caller) {
        return {status: 401};
    }
    const role = caller.user ? roleOf(caller.user, caller.groups) : '';
    const own = teamsOf(caller.user, caller.groups);
    const teams = header(own);
    const status = role && permits(r, area, {user: caller.user, role: role, teams: teams}) ? 200 : 403;
    return {status: status, user: caller.user, role: role, teams: teams, team: own.join(',')};
}

// Return the person of a session and their groups, null without a valid session. A name that is no identity is "". Email
// addresses are in lower case, as in the settings: providers write the address of one person in several ways.
async function session(cookie) {
    const reply = await ngx.fetch(`${access.sign_on}/oauth2/userinfo`, {headers: {Cookie: cookie}});
    if (reply.status !== 200) {
        return null;
    }
    // A list keeps names of groups with commas apart, which a header would not.
    const person = await reply.json(), groups = person.groups || [];
    const user = person.email || person.user || '';
    if (!IDENTITY.test(user)) {
        return {user: '', groups: groups};
    }
    // Lower case comes after the check: other alphabets have letters whose lower case is one of ASCII.
    return {user: person.email ? user.toLowerCase() : user, groups: groups};
}

function roleOf(user, groups) {
    if (!access.provider) {
        return access.users[user] || '';
    }
    return ROLES.find((role) => groups.some((group) => access.groups[group] === role)) || '';
}

function teamsOf(user, groups) {
    if (!access.teams) {
        return [];
    }
    return [access.teams.people[user]].concat(groups.map((group) => access.teams.groups[group])).filter((each) => each);
}

// Return the text that services get: what is shared and the teams, or nothing if the settings have no teams.
function header(teams) {
    return access.teams ? [SHARED].concat(teams).join(',') : '';
}

function permits(r, area, person) {
    if (area !== 'model') {
        return access.areas[area][person.role] === true && (area !== 'notebooks' || permitsNotebook(r, person));
    }
    const owner = access.owners[r.variables.model];
    const belongs = !owner || person.teams.split(',').indexOf(owner) >= 0;
    return person.role === 'administrator' || (access.models[r.variables.model] === 'team' && belongs);
}

// Permit the pages of the hub and the person's own server. The server of another person runs the code of that person, which
// must not run in this browser. The proxy of the hub decodes a path once, and reads a backslash as a slash.
function permitsNotebook(r, person) {
    let path;
    try {
        path = decodeURIComponent(r.variables.request_uri.split('?')[0]);
    } catch (e) {
        return false;
    }
    const found = NOTEBOOKS.exec(path);
    const detour = path.split(/[/\\]/).some((part) => part === '.' || part === '..');
    const belongs = person.teams !== SHARED || person.role === 'administrator';
    return found && !detour && belongs && (found[1] === undefined || found[1] === person.user);
}

// Return the cookies of the hub and its servers alone: a server must not see the session of the door.
function notebook_cookies(r) {
    return (r.headersIn.Cookie || '').split(/; */).filter((cookie) => NOTEBOOK_COOKIE.test(cookie)).join('; ');
}

// Pass on only cookies with a name of the hub or its servers.
function keep_notebook_cookies(r) {
    r.headersOut['Set-Cookie'] = (r.headersOut['Set-Cookie'] || []).filter((cookie) => NOTEBOOK_COOKIE.test(cookie));
}

// Send a browser to the sign-in page, and answer 401 to a program.
function ask_to_sign_in(r) {
    if (!isPage(r)) {
        r.headersOut['WWW-Authenticate'] = 'Bearer';
        fail(r, 401, 'sign in, or send a valid token: Authorization: Bearer mlp_...');
        return;
    }
    const step = access.provider ? 'start' : 'sign_in';
    r.headersOut['Cache-Control'] = 'no-store';
    r.return(302, `/oauth2/${step}?rd=${encodeURIComponent(r.variables.request_uri)}`);
}

function deny(r) {
    if (!isPage(r)) {
        fail(r, 403, 'this user or token has no right to this address');
        return;
    }
    r.headersOut['Content-Type'] = 'text/html; charset=utf-8';
    r.headersOut['Cache-Control'] = 'no-store';
    r.return(403, fs.readFileSync(r.variables.denied_page));
}

function unknown_model(r) {
    fail(r, 404, 'there is no such model');
}

function isPage(r) {
    const accepts = r.variables.http_accept || '';
    return !r.variables.http_authorization && r.variables.request_method === 'GET' && accepts.indexOf('text/html') >= 0;
}

function fail(r, status, reason) {
    r.headersOut['Content-Type'] = 'application/json';
    r.headersOut['Cache-Control'] = 'no-store';
    r.return(status, `${JSON.stringify({error: reason})}\n`);
}

export default {
    ask_to_sign_in, authorize, deny, foreign, keep_notebook_cookies, notebook_cookies, sign_on, sign_out, unknown_model, valid_token,
};
