// Secret (login.py): a password field. Its value is never a trait, so no saved notebook contains it: the script sends
// it to the kernel in a message, and the kernel tells the script to clear the field when it has read the value.
export default widgetPart('imkit-secret', ({ model, el, listen }) => {
    const input = element('input', {
        type: 'password', cls: 'imkit-input', autocomplete: 'new-password', spellcheck: 'false',
        on: {
            input: () => model.send({ secret: input.value }),
            keydown: event => { if (event.key === 'Enter') { event.preventDefault(); model.send({ event: 'submit' }); } },
        },
    });
    const name = element('span', { cls: 'imkit-label' });
    const showName = () => { name.textContent = model.get('label'); };
    const receive = content => { if (content.wipe) input.value = ''; };
    showName();
    listen('change:label', showName);
    listen('msg:custom', receive);
    el.append(element('label', {}, name, input));
});
